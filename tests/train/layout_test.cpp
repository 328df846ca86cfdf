// Same mathematics, same bits: for fixed (tp, dp) every pipeline depth, schedule, BPipe mode and recompute
// choice; and a derived closeness between different (tp, dp). fp64, ranks as threads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 20;

std::string text_of(const TrainOptions& o) {
  return fmt::format("pp {} tp {} dp {} {} bpipe {} pieces {} recompute {} split {}", o.pp, o.tp, o.dp,
                     o.schedule, o.bpipe, o.pieces, o.recompute, o.split_backward);
}

// Every way to run a layout whose results must be equal to the bit.
std::vector<TrainOptions> variants(int pp, int tp, int dp) {
  std::vector<TrainOptions> out;
  const auto add = [&](const char* schedule, const char* bpipe, int pieces, bool recompute, bool split) {
    TrainOptions options = small_options(pp, tp, dp);
    options.schedule = schedule;
    options.bpipe = bpipe;
    options.pieces = pieces;
    options.recompute = recompute;
    options.split_backward = split;
    out.push_back(options);
  };
  add("1f1b", "off", 1, false, pp == 2);
  if (pp == 1) add("1f1b", "off", 1, true, false);
  if (pp == 1 && tp * dp <= 2) add("1f1b", "off", 1, false, true);
  if (pp > 1) add("gpipe", "off", 1, pp % 2 == 0, pp % 2 == 1);
  if (pp > 3) add("1f1b", "tight", 1, pp == 5, pp % 4 == 0);
  if (pp == 4 || pp == 6) add("1f1b", "loose", 2, false, pp == 6);
  return out;
}

void expect_memory_as_planned(const RunNumbers& run, const TrainOptions& options) {
  for (std::size_t stage = 0; stage < run.planned.size(); ++stage) {
    const std::size_t first_rank = stage * static_cast<std::size_t>(options.tp * options.dp);
    EXPECT_EQ(run.planned[stage], run.memory[first_rank]) << "stage " << stage;
  }
}

class LayoutSweep : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(LayoutSweep, PipelineCutsScheduleBpipeAndRecomputeChangeNoBit) {
  const auto [tp, dp] = GetParam();
  static const RunNumbers one_process = run_layout(small_options(1, 1, 1), kSteps);
  const RunNumbers reference = run_layout(small_options(1, tp, dp), kSteps);
  ASSERT_LT(reference.loss.back(), reference.loss.front());
  EXPECT_LE(largest_difference(reference.first_gradients, one_process.first_gradients), 1e-14);
  EXPECT_LE(largest_difference(reference.weights, one_process.weights), 1e-12);
  for (int pp = 1; pp * tp * dp <= 8; ++pp)
    for (const TrainOptions& options : variants(pp, tp, dp)) {
      SCOPED_TRACE(text_of(options));
      const RunNumbers run = run_layout(options, kSteps);
      EXPECT_EQ(run.loss, reference.loss);
      EXPECT_EQ(run.norm, reference.norm);
      EXPECT_TRUE(same_bits(run.first_gradients, reference.first_gradients));
      EXPECT_TRUE(same_bits(run.weights, reference.weights));
      for (std::size_t rank = 0; rank < run.stats.size(); ++rank) {
        EXPECT_EQ(run.stats[rank].peak_own_bytes, run.memory[rank].own_stashes) << "rank " << rank;
        EXPECT_EQ(run.stats[rank].peak_guest_bytes, run.memory[rank].guest_area) << "rank " << rank;
      }
      expect_memory_as_planned(run, options);
      if (options.bpipe == "tight") {
        std::int64_t evictions = 0;
        for (const ExecutorStats& stats : run.stats) evictions += stats.evictions;
        EXPECT_GT(evictions, 0);
      }
    }
}

INSTANTIATE_TEST_SUITE_P(TpDp, LayoutSweep,
                         testing::Values(std::pair{1, 1}, std::pair{2, 1}, std::pair{1, 2}, std::pair{4, 1},
                                         std::pair{1, 4}, std::pair{2, 2}, std::pair{8, 1}, std::pair{1, 8},
                                         std::pair{4, 2}, std::pair{2, 4}),
                         [](const auto& info) {
                           return fmt::format("tp{}dp{}", info.param.first, info.param.second);
                         });

TEST(Layouts, UntiedHeadsBiasesQkNormAndGivenCuts) {
  ModelConfig config = small_model();
  config.tied_embeddings = false;
  config.qkv_bias = config.qk_norm = true;
  config.activation = Activation::Drelu;
  TrainOptions options = small_options(1, 2, 2);
  options.l1 = 1e-3;
  const RunNumbers reference = run_layout(options, 3, config);
  TrainOptions one = small_options(1, 1, 1);
  one.l1 = options.l1;
  EXPECT_LE(largest_difference(reference.first_gradients, run_layout(one, 1, config).first_gradients), 1e-14);
  options.pp = 2;
  options.cuts = {7, 2};
  const RunNumbers cut = run_layout(options, 3, config);
  EXPECT_EQ(cut.loss, reference.loss);
  EXPECT_TRUE(same_bits(cut.weights, reference.weights));
}

TEST(Layouts, ATeacherIsTheSameUnderEveryLayout) {
  ModelConfig config = small_model();
  config.activation = Activation::Drelu;
  const auto taught = [](int pp, int tp, int dp) {
    TrainOptions options = small_options(pp, tp, dp);
    options.l1 = 1e-3;
    options.l1_knee = 0.02;
    options.distil = 0.6;
    return options;
  };
  const RunNumbers one = run_layout(taught(1, 1, 1), 6, config);
  ASSERT_GT(one.divergence.front(), 0.1);
  TrainOptions untaught = taught(1, 1, 1);
  untaught.distil = 0;
  EXPECT_GT(largest_difference(run_layout(untaught, 1, config).first_gradients, one.first_gradients), 0.1);
  for (const auto& [tp, dp] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}}) {
    const RunNumbers reference = run_layout(taught(1, tp, dp), 6, config);
    EXPECT_LE(largest_difference(reference.first_gradients, one.first_gradients), 1e-14);
    EXPECT_LE(largest_difference(reference.weights, one.weights), 1e-12);
    for (int pp : {2, 4}) {
      if (pp * tp * dp > 8) continue;
      TrainOptions options = taught(pp, tp, dp);
      if (pp == 4) options.bpipe = "tight";
      if (pp == 2) options.schedule = "gpipe";
      if (pp == 2) options.recompute = true;
      SCOPED_TRACE(text_of(options));
      const RunNumbers run = run_layout(options, 6, config);
      EXPECT_EQ(run.loss, reference.loss);
      EXPECT_EQ(run.divergence, reference.divergence);
      EXPECT_TRUE(same_bits(run.weights, reference.weights));
      expect_memory_as_planned(run, options);
      for (const RankBytes& bytes : run.memory) EXPECT_GT(bytes.teacher, 0u);
    }
  }
}

TEST(Layouts, Fp32AndBf16AreEqualOverPipelineCuts) {
  for (const char* dtype : {"fp32", "bf16"}) {
    SCOPED_TRACE(dtype);
    TrainOptions options = small_options(1, 2, 2);
    options.dtype = dtype;
    const RunNumbers reference = run_layout(options, 4);
    options.pp = 2;
    const RunNumbers cut = run_layout(options, 4);
    EXPECT_EQ(cut.loss, reference.loss);
    EXPECT_TRUE(same_bits(cut.weights, reference.weights));
  }
}

}  // namespace
}  // namespace lacuna::test
