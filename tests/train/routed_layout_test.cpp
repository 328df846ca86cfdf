// A routed model trains like any other: the same bits for every pipeline cut, schedule, BPipe mode and
// recompute choice, and nearness between tensor- and data-parallel layouts. fp64, ranks as threads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 20;

// 48 neurons: shared ones that differ by layer, experts that no tensor-parallel cut respects.
ModelConfig routed_model(RouterKind kind) {
  ModelConfig config = small_model();
  RoutedFfn& r = config.routed;
  r.experts = 5;
  r.active = {2};
  r.shared = {13, 13, 20, 5, 13, 0, 13, 48, 13};
  r.router = kind;
  r.rank = r.has_rows() ? 2 : 0;
  config.complete_and_check("routed model");
  return config;
}

TrainOptions options_of(int pp, int tp, int dp, const char* schedule = "1f1b", const char* bpipe = "off",
                        bool recompute = false) {
  TrainOptions options = small_options(pp, tp, dp);
  options.schedule = schedule;
  options.bpipe = bpipe;
  options.recompute = recompute;
  return options;
}

class RoutedLayouts : public testing::TestWithParam<RouterKind> {};

TEST_P(RoutedLayouts, TrainAlike) {
  const ModelConfig config = routed_model(GetParam());
  const RunNumbers one = run_layout(options_of(1, 1, 1), kSteps, config);
  for (const auto& [tp, dp] : {std::pair{1, 1}, std::pair{2, 1}, std::pair{2, 2}}) {
    SCOPED_TRACE(fmt::format("tp {} dp {}", tp, dp));
    const RunNumbers reference = run_layout(options_of(1, tp, dp), kSteps, config);
    EXPECT_LE(largest_difference(reference.first_gradients, one.first_gradients), 1e-14);
    EXPECT_LE(largest_difference(reference.weights, one.weights), 1e-12);
    std::vector<TrainOptions> variants = {options_of(1, tp, dp, "1f1b", "off", true),
                                          options_of(2, tp, dp, "gpipe")};
    if (tp * dp <= 2) variants.push_back(options_of(4, tp, dp, "1f1b", "tight"));
    for (const TrainOptions& options : variants) {
      const RunNumbers run = run_layout(options, kSteps, config);
      EXPECT_EQ(run.loss, reference.loss) << options.pp << " " << options.schedule;
      EXPECT_TRUE(same_bits(run.first_gradients, reference.first_gradients)) << options.pp;
      EXPECT_TRUE(same_bits(run.weights, reference.weights)) << options.pp;
    }
  }
}

// Every tensor that can learn has learnt. In layer 7 no neuron is an expert's, so nothing there can.
TEST_P(RoutedLayouts, LearnEverything) {
  const ModelConfig config = routed_model(GetParam());
  const RunNumbers fresh = run_layout(options_of(1, 1, 1), 0, config),
                   trained = run_layout(options_of(1, 1, 1), 3, config);
  for (const auto& [name, weights] : trained.weights) {
    if (name.ends_with("router.bias") || name.starts_with("model.layers.7.mlp.")) continue;
    EXPECT_NE(weights, fresh.weights.at(name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Routers, RoutedLayouts, testing::Values(RouterKind::Linear, RouterKind::LowRank),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace lacuna::test
