// Carving under every layout of ranks, and a carved model that trains on under it: equal bits where training
// has equal bits (docs/numerics.md), else training's own closeness.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/recipes/cmoe/carved_runs.h"

namespace lacuna::test {
namespace {

std::string text_of(const TrainOptions& o) {
  return fmt::format("pp {} tp {} dp {} {} recompute {}", o.pp, o.tp, o.dp, o.schedule, o.recompute);
}

std::vector<TrainOptions> variants(int tp, int dp) {
  std::vector<TrainOptions> out;
  for (int pp = 2; pp <= 3; ++pp) {
    out.push_back(small_options(pp, tp, dp));
    if (pp == 2) out.back().schedule = "gpipe";
    if (pp == 3) out.back().recompute = true;
  }
  return out;
}

double largest_deviation(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (std::size_t i = 0; i < b.size(); ++i) most = std::max(most, std::abs(a.at(i) / b[i] - 1));
  return most;
}

// The sums of another tp or dp are rounded in another place. Inputs of FFNs, in double here, then differ by
// some 1e-16; what is fitted to them sees them in single precision, where about one in 1e8 such numbers falls
// to the other side: none of these 18,000. So every number of the carved model is the same, to the bit;
// afterwards it is trained, and the bounds are those of tests/train/layout_test.cpp.
TEST(CmoeLayouts, GiveTheSameModelAndTrainItAlike) {
  const Outcome one = carve(small_options(1, 1, 1), small_carving(), 20);
  EXPECT_LT(one.losses.back(), one.losses.front());
  EXPECT_FALSE(same_bits(one.trained, one.weights));
  for (const auto& [tp, dp] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
    const Outcome reference = carve(small_options(1, tp, dp), small_carving(), 20);
    EXPECT_TRUE(same_bits(reference.weights, one.weights)) << "tp " << tp << " dp " << dp;
    EXPECT_LE(largest_deviation(reference.losses, one.losses), 1e-12);
    EXPECT_LE(largest_difference(reference.trained, one.trained), 1e-12);
    for (const TrainOptions& options : variants(tp, dp)) {
      SCOPED_TRACE(text_of(options));
      const Outcome other = carve(options, small_carving(), 20);
      EXPECT_TRUE(same_bits(other.weights, one.weights));
      EXPECT_EQ(other.loss, reference.loss);
      EXPECT_EQ(other.losses, reference.losses);
      EXPECT_TRUE(same_bits(other.trained, reference.trained));
    }
  }
}

TEST(CmoeLayouts, Fp32AndBf16AreEqualOverPipelineCuts) {
  for (const char* dtype : {"fp32", "bf16"})
    for (const auto& [tp, dp] : {std::pair{1, 1}, {2, 2}}) {
      SCOPED_TRACE(fmt::format("{} tp {} dp {}", dtype, tp, dp));
      TrainOptions options = small_options(1, tp, dp);
      options.dtype = dtype;
      const Outcome reference = carve(options, small_carving(), 4);
      options.pp = 2;
      const Outcome cut = carve(options, small_carving(), 4);
      EXPECT_TRUE(same_bits(cut.weights, reference.weights));
      EXPECT_EQ(cut.losses, reference.losses);
      EXPECT_TRUE(same_bits(cut.trained, reference.trained));
    }
}

TEST(CmoeLayouts, TheCarvedTrajectoryIsTheSameUnderPipelineStages) {
  const Settings settings = small_carving({{"cmoe.trajectory", "carved"}, {"cmoe.compat", "yes"}});
  const Outcome one = carve(small_options(1, 1, 1), settings),
                three = carve(small_options(3, 1, 1), settings);
  EXPECT_NEAR(one.all_on, one.parent, 1e-13 * one.parent);
  EXPECT_TRUE(same_bits(one.weights, three.weights));
  EXPECT_EQ(one.loss, three.loss);
}

TEST(CmoeLayouts, EqualSharedPartsAreTheSame) {
  const Settings settings = small_carving({{"cmoe.spread-shared", "equal"}});
  const Outcome one = carve(small_options(1, 1, 1), settings);
  for (const auto& [pp, tp, dp] : {std::tuple{3, 1, 1}, std::tuple{1, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    const Outcome other = carve(small_options(pp, tp, dp), settings);
    EXPECT_EQ(other.routed, one.routed);
    EXPECT_TRUE(same_bits(other.weights, one.weights));
  }
}

}  // namespace
}  // namespace lacuna::test
