// Carving under every layout of ranks, and a carved model that trains on under it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/recipes/cmoe/carved_runs.h"

namespace lacuna::test {
namespace {

TEST(Cmoe, EveryLayoutGivesTheSameIndexSetsAndTrainsAlike) {
  const Outcome one = carve(small_options(1, 1, 1), small_carving(), 20);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const auto& [pp, tp, dp] :
       {std::tuple{3, 1, 1}, std::tuple{1, 2, 1}, std::tuple{1, 1, 2}, std::tuple{2, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    const Outcome other = carve(small_options(pp, tp, dp), small_carving(), 20);
    for (const auto& [name, values] : one.weights) {
      ASSERT_EQ(other.weights.at(name).size(), values.size()) << name;
      if (is_reordered(name)) {  // the same neurons, everywhere
        EXPECT_EQ(other.weights.at(name), values) << name;
      }
    }
    // Inputs are rounded to single precision before anything is fitted to them: router and means differ by
    // what an input that rounds the other way changes.
    EXPECT_LT(largest_difference(other.weights, one.weights), 1e-5);
    for (std::size_t step = 0; step < one.losses.size(); ++step)
      EXPECT_NEAR(other.losses[step], one.losses[step], 1e-6 * one.losses[step]) << step;
  }
}

TEST(Cmoe, TheCarvedTrajectoryIsTheSameUnderPipelineStages) {
  const Settings settings = small_carving({{"cmoe.trajectory", "carved"}, {"cmoe.compat", "yes"}});
  const Outcome one = carve(small_options(1, 1, 1), settings),
                three = carve(small_options(3, 1, 1), settings);
  EXPECT_NEAR(one.all_on, one.parent, 1e-13 * one.parent);
  EXPECT_TRUE(same_bits(one.weights, three.weights));
  EXPECT_EQ(one.loss, three.loss);
}

}  // namespace
}  // namespace lacuna::test
