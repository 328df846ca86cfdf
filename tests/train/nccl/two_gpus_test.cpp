// Training on two GPUs through NCCL, one axis at a time, beside the same training on one of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "parallel/run/local_communicator.h"
#include "tests/support/mpi/mpi_world.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 20;

ModelConfig library_model() {  // head size 16: in bf16 the library's attention
  ModelConfig config = small_model();
  config.head_dim = 16;
  return config;
}

struct Layout {
  int pp, tp, dp;
  const char* bpipe;
};

// On rank 0: the numbers of one GPU. It is the GPU that this process has in every run.
RunNumbers on_one_gpu(TrainOptions options) {
  options.pp = options.tp = options.dp = 1;
  options.bpipe = "off";
  RunNumbers out;
  std::mutex mutex;
  const auto alone = single_rank();
  run_rank(*alone, options, kSteps, library_model(), out, mutex);
  return out;
}

// fp64: another order of sums, and 20 steps of AdamW on top; bf16: the bounds that a user may count on.
void compare(const std::string& dtype, double loss_bound, double norm_bound) {
  Communicator& world = mpi_world();
  ASSERT_EQ(world.size(), 2);
  for (const Layout& layout :
       {Layout{2, 1, 1, "off"}, Layout{2, 1, 1, "tight"}, Layout{1, 2, 1, "off"}, Layout{1, 1, 2, "off"}}) {
    SCOPED_TRACE(
        fmt::format("{} pp {} tp {} dp {} bpipe {}", dtype, layout.pp, layout.tp, layout.dp, layout.bpipe));
    TrainOptions options = small_options(layout.pp, layout.tp, layout.dp);
    options.device = "cuda";
    options.dtype = dtype;
    options.deterministic = true;
    options.bpipe = layout.bpipe;
    if (dtype == "bf16") {  // small steps: at ten times this rate one GPU is as far from itself in fp32
      options.lr = 3e-4;
      options.micro_batch = 4;
      options.global_batch = 32;
    }
    RunNumbers run;
    std::mutex mutex;
    run_rank(world, options, kSteps, library_model(), run, mutex);
    if (world.rank() == 0) {
      const RunNumbers one = on_one_gpu(options);
      for (std::size_t step = 0; step < kSteps; ++step) {
        EXPECT_NEAR(run.loss[step], one.loss[step], loss_bound * one.loss[step]) << "step " << step;
        EXPECT_NEAR(run.norm[step], one.norm[step], norm_bound * one.norm[step]) << "step " << step;
      }
      if (layout.pp == 2) {  // stages on two GPUs: the same bits
        EXPECT_EQ(run.loss, one.loss);
        EXPECT_EQ(run.norm, one.norm);
      }
    }
    world.barrier();
  }
}

TEST(TwoGpus, AreOneInFp64) {
  compare("fp64", 1e-11, 1e-9);
}
TEST(TwoGpus, AreCloseToOneInBf16) {
  compare("bf16", 1e-3, 1e-2);
}

}  // namespace
}  // namespace lacuna::test
