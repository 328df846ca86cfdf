// dReLU on a GPU: the same signs as on the CPU, and a child that learns alike.
#include <gtest/gtest.h>

#include "tests/recipes/drelu_runs.h"

namespace lacuna::test {
namespace {

TEST(DreluOnGpu, IsTheCpus) {
  TrainOptions options = small_options(1, 1, 1);
  const Converted cpu = convert_to_drelu(options, 8);
  options.device = "cuda";
  options.deterministic = true;
  const Converted gpu = convert_to_drelu(options, 8);
  EXPECT_TRUE(same_bits(gpu.weights, cpu.weights));
  EXPECT_NEAR(gpu.rewritten_loss, gpu.parent_loss, 1e-13 * gpu.parent_loss);
  EXPECT_EQ(gpu.zeros, cpu.zeros);
  ASSERT_EQ(gpu.losses.size(), 8u);
  for (std::size_t step = 0; step < 8; ++step)
    EXPECT_NEAR(gpu.losses[step], cpu.losses[step], 1e-11 * cpu.losses[step]) << "step " << step;
  options.pp = 3;
  EXPECT_TRUE(same_bits(convert_to_drelu(options).weights, cpu.weights));
}

}  // namespace
}  // namespace lacuna::test
