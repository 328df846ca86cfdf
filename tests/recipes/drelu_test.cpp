// dReLU: the canonical start is exact for the parent, chooses the half that carries more, and does so under
// any layout; the child has zeros and learns.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/run/local_communicator.h"
#include "recipes/drelu/sign_statistics.h"
#include "recipes/recipe.h"
#include "src/base/error.h"
#include "tests/recipes/drelu_runs.h"

namespace lacuna::test {
namespace {

TEST(Drelu, CanonicalStartKeepsTheParentsFunctionAndIsEqualUnderEveryLayout) {
  const Converted one = convert_to_drelu(small_options(1, 1, 1));
  EXPECT_NEAR(one.rewritten_loss, one.parent_loss, 1e-13 * one.parent_loss);  // a sign commutes with rounding
  int flipped = 0;
  for (const auto& [name, values] : one.weights) {
    if (name.find("mlp.up_proj") == std::string::npos) continue;
    const std::vector<double>& before = parent_tensors().at(name);
    for (std::size_t i = 0; i < values.size(); i += 32) {
      ASSERT_EQ(std::abs(values[i]), std::abs(before[i]));
      flipped += values[i] != before[i];
    }
  }
  EXPECT_GT(flipped, 20);  // of 3 · 48 neurons about half
  EXPECT_LT(flipped, 124);
  for (const auto& [pp, tp, dp] :
       {std::tuple{3, 1, 1}, std::tuple{1, 2, 1}, std::tuple{1, 1, 2}, std::tuple{2, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    EXPECT_TRUE(same_bits(convert_to_drelu(small_options(pp, tp, dp)).weights, one.weights));
  }
}

TEST(Drelu, ChildHasExactZerosAndLearns) {
  const Converted outcome = convert_to_drelu(small_options(1, 1, 1), 8);
  ASSERT_EQ(outcome.zeros.size(), 3u);
  for (double share : outcome.zeros) {
    EXPECT_GT(share, 0.5);
    EXPECT_LT(share, 1.0);
  }
  EXPECT_LT(outcome.losses.back(), outcome.losses.front());
}

TEST(Drelu, SignStatisticsCountTheHalfWithMoreEnergyWhereTheGateIsOpen) {
  const auto row = [](std::vector<double> values) {
    return at::tensor(values, at::kDouble).reshape({-1, 3});
  };
  SignStatistics statistics;
  // Neuron 0: larger negative half; 1: its negative half has a closed gate; 2: positive half.
  const at::Tensor gate = row({1, 1, 1, 1, -1, 1}), up = row({1, 1, 2, -2, -5, -1});
  statistics.add(4, gate, up, gate * up);
  const auto world = single_rank();
  statistics.merge(*world);
  EXPECT_EQ(statistics.layers(), std::vector<int>{4});
  EXPECT_EQ(statistics.flips(4), (std::vector<bool>{true, false, false}));
  EXPECT_THROW(statistics.flips(5), Error);
}

TEST(Drelu, RefusesSettingsThatAreNone) {
  const std::unique_ptr<Recipe> recipe = find_recipe("drelu").make();
  for (FieldRef& field : recipe->fields())
    if (field.name == "drelu.start") field.set("sideways");
  ASSERT_EQ(recipe->problems().size(), 1u);
  EXPECT_NE(recipe->problems()[0].find("sideways"), std::string::npos);
  EXPECT_THROW(find_recipe("nothing"), Error);
}

}  // namespace
}  // namespace lacuna::test
