// One layer carved: guarded neurons, uneven experts, the quality of its routing, the way to other ranks.
#include "recipes/cmoe/carve_layer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/recipes/cmoe/random_layer.h"

namespace lacuna::test {
namespace {

TEST(CarveLayer, UnevenExpertsAndGuardedNeurons) {
  LayerEvidence e = random_evidence(26, 60);
  e.super_neurons = {25, 3};
  CmoeOptions options;
  options.shared_by = NeuronScore::Rate;
  options.threshold = false;
  const RoutedLayer shape = shape_of(4, {9, 8, 5}, 1);
  std::vector<std::int32_t> order = carve_order(e, shape, options);
  EXPECT_EQ(std::count(order.begin(), order.begin() + 4, 3), 1);
  EXPECT_EQ(std::count(order.begin(), order.begin() + 4, 25), 1);
  EXPECT_TRUE(std::is_sorted(order.begin() + 4, order.begin() + 13));
  const CarvedLayer carved = fit_experts(e, shape, order, RouterKind::Linear, options);
  EXPECT_EQ(carved.router.weight.size(0), 3);
  EXPECT_GT(carved.quality.lost, carved.quality.lost_oracle - 1e-12);
  EXPECT_NEAR(carved.quality.chance, 1.0 / 3, 1e-12);
  std::sort(order.begin(), order.end());
  for (std::int32_t i = 0; i < 26; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  // Across ranks as bytes, nothing is lost.
  const CarvedLayer again = CarvedLayer::from_bytes(carved.to_bytes());
  EXPECT_EQ(again.order, carved.order);
  EXPECT_TRUE(at::equal(again.router.weight, carved.router.weight));
  EXPECT_TRUE(at::equal(again.stand_ins, carved.stand_ins));
  EXPECT_FALSE(again.router.gate.defined());
  EXPECT_EQ(again.quality.lost, carved.quality.lost);
}

}  // namespace
}  // namespace lacuna::test
