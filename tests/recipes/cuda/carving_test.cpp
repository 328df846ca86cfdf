// Carving on a GPU: the same index sets as on the CPU, and routers within what rounding in another order
// explains.
#include <gtest/gtest.h>

#include "tests/recipes/cmoe/carved_runs.h"

namespace lacuna::test {
namespace {

TrainOptions on_gpu(TrainOptions options) {
  options.device = "cuda";
  options.deterministic = true;
  return options;
}

// Routers and means are solutions of systems of single-precision sums. A sum of n terms is off by n·2^-24 of
// its terms' sizes; the ridge (0.01 of the mean variance) bounds the condition of the inputs' covariance by
// hidden / 0.01, which multiplies that.
double solution_bound() {
  const ModelConfig config = parent_model();
  constexpr double kTokens = 128, kRidge = 0.01;
  return kTokens * 0x1p-24 * static_cast<double>(config.hidden) / kRidge;
}

void expect_same_carving(const Settings& settings) {
  const Outcome cpu = carve(small_options(1, 1, 1), settings),
                gpu = carve(on_gpu(small_options(1, 1, 1)), settings);
  EXPECT_EQ(gpu.routed, cpu.routed);
  EXPECT_EQ(gpu.passes, cpu.passes);
  EXPECT_NEAR(gpu.parent, cpu.parent, 1e-11 * cpu.parent);
  if (cpu.routed.router == RouterKind::None)  // what is off stays off
    EXPECT_NEAR(gpu.loss, cpu.loss, solution_bound() * cpu.loss);
  else
    EXPECT_NEAR(gpu.all_on, gpu.parent, 1e-11 * gpu.parent);
  for (const auto& [name, values] : cpu.weights)
    if (is_reordered(name)) {  // the same neurons, in the same places
      EXPECT_EQ(gpu.weights.at(name), values) << name;
    }
  EXPECT_LT(largest_difference(gpu.weights, cpu.weights), solution_bound());
}

TEST(CarvingOnGpu, IsTheCpusByDefault) {
  expect_same_carving(small_carving());
}

TEST(CarvingOnGpu, IsTheCpusWithoutAThreshold) {
  expect_same_carving(small_carving({{"cmoe.threshold", "no"}, {"cmoe.shared-by", "rate"}}));
  expect_same_carving(small_carving({{"cmoe.threshold", "no"}, {"cmoe.shared-by", "flap"}}));
}

TEST(CarvingOnGpu, IsTheCpusWithEveryRouterAndMetric) {
  expect_same_carving(small_carving({{"cmoe.router", "lowrank"}, {"cmoe.rank", "2"}}));
  expect_same_carving(small_carving({{"cmoe.router", "rep"}}));
  expect_same_carving(small_carving({{"cmoe.router", "oracle"}}));
  expect_same_carving(small_carving({{"cmoe.metric", "loss"}}));
  expect_same_carving(small_carving({{"cmoe.clusters", "coactivation"}}));
  expect_same_carving(small_carving({{"cmoe.static", "heapr"}}));
}

TEST(CarvingOnGpu, IsTheCpusAsPublished) {
  expect_same_carving(small_carving({{"cmoe.compat", "yes"}, {"cmoe.trajectory", "carved"}}));
}

// Ranks that share a GPU: the layout changes nothing there either.
TEST(CarvingOnGpu, PipelineStagesChangeNothing) {
  const Outcome one = carve(on_gpu(small_options(1, 1, 1)), small_carving()),
                three = carve(on_gpu(small_options(3, 1, 1)), small_carving());
  EXPECT_TRUE(same_bits(three.weights, one.weights));
}

}  // namespace
}  // namespace lacuna::test
