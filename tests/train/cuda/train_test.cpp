// Training on one GPU: the same mathematics as on the CPU, and the same bits under every pipeline.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 6;

TrainOptions on_gpu(TrainOptions options, const std::string& dtype = "fp64") {
  options.device = "cuda";
  options.dtype = dtype;
  options.deterministic = true;
  return options;
}

// Head size 16, so that bf16 takes the library's attention.
ModelConfig library_model() {
  ModelConfig config = small_model();
  config.head_dim = 16;
  return config;
}

// fp64 sums in another order: a few hundred roundings of 1.1e-16 each.
TEST(TrainOnGpu, IsTheCpuInFp64) {
  for (Activation activation : {Activation::Silu, Activation::Drelu}) {
    ModelConfig config = small_model();
    config.activation = activation;
    TrainOptions options = small_options(1, 1, 1);
    options.l1 = activation == Activation::Drelu ? 1e-3 : 0;
    const RunNumbers cpu = run_layout(options, kSteps, config),
                     gpu = run_layout(on_gpu(options), kSteps, config);
    EXPECT_LE(largest_difference(gpu.first_gradients, cpu.first_gradients), 1e-12);
    EXPECT_LE(largest_difference(gpu.weights, cpu.weights), 1e-10);
    for (std::size_t step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(gpu.loss[step], cpu.loss[step], 1e-11 * cpu.loss[step]) << "step " << step;
      EXPECT_NEAR(gpu.norm[step], cpu.norm[step], 1e-10 * cpu.norm[step]) << "step " << step;
    }
  }
}

TEST(TrainOnGpu, FirstLossIsTheCpusInFp32AndBf16) {
  TrainOptions options = small_options(1, 1, 1);
  options.dtype = "fp32";
  const double cpu = run_layout(options, 1, library_model()).loss[0];
  EXPECT_NEAR(run_layout(on_gpu(options, "fp32"), 1, library_model()).loss[0], cpu, 1e-5 * cpu);
  EXPECT_NEAR(run_layout(on_gpu(options, "bf16"), 1, library_model()).loss[0], cpu, 1e-3 * cpu);
}

struct Cut {
  int pp;
  const char *schedule, *bpipe;
  int pieces;
  bool recompute;
};

void expect_same_bits(const char* dtype, const ModelConfig& config) {
  const RunNumbers one = run_layout(on_gpu(small_options(1, 1, 1), dtype), kSteps, config);
  for (const Cut& cut : {Cut{2, "gpipe", "off", 1, false}, Cut{4, "1f1b", "off", 1, false},
                         Cut{4, "1f1b", "tight", 1, false}, Cut{4, "1f1b", "loose", 2, false},
                         Cut{8, "1f1b", "tight", 1, false}, Cut{3, "1f1b", "off", 1, true}}) {
    TrainOptions options = on_gpu(small_options(cut.pp, 1, 1), dtype);
    options.schedule = cut.schedule;
    options.bpipe = cut.bpipe;
    options.pieces = cut.pieces;
    options.recompute = cut.recompute;
    const RunNumbers run = run_layout(options, kSteps, config);
    const std::string what = std::string(dtype) + " pp " + std::to_string(cut.pp) + " " + cut.schedule +
                             " bpipe " + cut.bpipe + (cut.recompute ? " recompute" : "");
    EXPECT_EQ(run.loss, one.loss) << what;
    EXPECT_EQ(run.norm, one.norm) << what;
    EXPECT_TRUE(same_bits(run.first_gradients, one.first_gradients)) << what;
    EXPECT_TRUE(same_bits(run.weights, one.weights)) << what;
    for (std::size_t rank = 0; rank < run.stats.size(); ++rank) {
      EXPECT_EQ(run.stats[rank].peak_own_bytes, run.memory[rank].own_stashes) << what << " rank " << rank;
      EXPECT_EQ(run.stats[rank].peak_guest_bytes, run.memory[rank].guest_area) << what << " rank " << rank;
    }
  }
}

TEST(TrainOnGpu, EveryPipelineGivesTheSameBitsInFp64) {
  expect_same_bits("fp64", small_model());
}
TEST(TrainOnGpu, EveryPipelineGivesTheSameBitsInBf16) {
  expect_same_bits("bf16", library_model());
}

TEST(TrainOnGpu, TensorAndDataParallelAreOneRankUpToRounding) {
  const RunNumbers one = run_layout(on_gpu(small_options(1, 1, 1)), kSteps);
  for (const auto& [tp, dp] : {std::pair{2, 1}, {4, 1}, {1, 2}, {2, 2}}) {
    const RunNumbers run = run_layout(on_gpu(small_options(1, tp, dp)), kSteps);
    EXPECT_LE(largest_difference(run.first_gradients, one.first_gradients), 1e-12) << tp << " x " << dp;
    EXPECT_LE(largest_difference(run.weights, one.weights), 1e-10) << tp << " x " << dp;
  }
}

TEST(TrainOnGpu, ATeacherIsTheCpusInFp64) {
  ModelConfig config = small_model();
  config.activation = Activation::Drelu;
  const auto taught = [](int pp, int tp) {
    TrainOptions options = small_options(pp, tp, 1);
    options.l1 = 1e-3;
    options.distil = 0.6;
    return options;
  };
  const RunNumbers cpu = run_layout(taught(1, 1), kSteps, config);
  const RunNumbers gpu = run_layout(on_gpu(taught(1, 1)), kSteps, config);
  ASSERT_GT(cpu.divergence.front(), 0.1);
  EXPECT_LE(largest_difference(gpu.first_gradients, cpu.first_gradients), 1e-12);
  EXPECT_LE(largest_difference(gpu.weights, cpu.weights), 1e-10);
  for (std::size_t step = 0; step < kSteps; ++step)
    EXPECT_NEAR(gpu.divergence[step], cpu.divergence[step], 1e-11 * cpu.divergence.front())
        << "step " << step;
  const RunNumbers cut = run_layout(on_gpu(taught(4, 1)), kSteps, config);
  EXPECT_EQ(cut.divergence, gpu.divergence);
  EXPECT_TRUE(same_bits(cut.weights, gpu.weights));
  const RunNumbers split = run_layout(on_gpu(taught(1, 2)), kSteps, config);
  EXPECT_LE(largest_difference(split.weights, gpu.weights), 1e-10);
}

// The bounds of bf16 that a user may count on (tests/train/nccl has the same over NCCL). Adam makes a whole
// step of the sign of a gradient that rounding made, so steps are small: at ten times this rate one rank in
// bf16 is farther than these bounds from itself in fp32.
TEST(TrainOnGpu, TensorAndDataParallelStayCloseInBf16) {
  const auto options = [](int tp, int dp) {
    TrainOptions out = on_gpu(small_options(1, tp, dp), "bf16");
    out.lr = 3e-4;
    out.global_batch = 32;
    return out;
  };
  const RunNumbers one = run_layout(options(1, 1), kSteps, library_model());
  for (const auto& [tp, dp] : {std::pair{2, 1}, {1, 2}, {2, 2}}) {
    const RunNumbers run = run_layout(options(tp, dp), kSteps, library_model());
    for (std::size_t step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(run.loss[step], one.loss[step], 1e-3 * one.loss[step]) << tp << " x " << dp;
      EXPECT_NEAR(run.norm[step], one.norm[step], 1e-2 * one.norm[step]) << tp << " x " << dp;
    }
  }
}

TEST(TrainOnGpu, TwoRunsGiveTheSameBits) {
  const TrainOptions options = on_gpu(small_options(1, 1, 1), "bf16");
  const RunNumbers one = run_layout(options, kSteps, library_model()),
                   two = run_layout(options, kSteps, library_model());
  EXPECT_TRUE(same_bits(one.weights, two.weights));
}

}  // namespace
}  // namespace lacuna::test
