// Run lists, sampler, stop texts.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "src/base/error.h"
#include "src/infer/active_runs.h"
#include "src/infer/generate.h"
#include "src/infer/sampler.h"

namespace lacuna {
namespace {

std::vector<ActiveRun> list(const ActiveRuns& runs) {
  return {runs.runs().begin(), runs.runs().end()};
}

TEST(ActiveRuns, JoinNeighboursAndSliceByCount) {
  ActiveRuns runs;
  for (int neuron : {2, 3, 4, 9, 11, 12}) runs.add(neuron);
  const std::vector<ActiveRun> all = {{2, 3}, {9, 1}, {11, 2}};
  EXPECT_EQ(list(runs), all);
  EXPECT_EQ(runs.count(), 6);
  const std::vector<ActiveRun> middle = {{4, 1}, {9, 1}, {11, 1}};
  EXPECT_EQ(list(runs.slice(2, 5)), middle);
  EXPECT_EQ(list(runs.slice(0, 6)), all);
  EXPECT_TRUE(list(runs.slice(3, 3)).empty());
  for (int cut = 0; cut <= 6; ++cut) EXPECT_EQ(runs.slice(0, cut).count() + runs.slice(cut, 6).count(), 6);
  EXPECT_EQ(list(ActiveRuns::whole(7)), (std::vector<ActiveRun>{{0, 7}}));
  EXPECT_TRUE(list(ActiveRuns::whole(0)).empty());
}

TEST(ActiveRuns, GateAndProductProducers) {
  const float nan = std::nanf("");
  const std::vector<float> values = {-1, 0, 2, nan, -0.0f, 5,  //
                                     -1, 0, 0, -3,  1,     6};
  ActiveRuns runs;
  active_by_gate({values.data(), 2, 6, 6}, ActiveRuns::whole(6).runs(), runs);
  EXPECT_EQ(list(runs), (std::vector<ActiveRun>{{2, 4}}));
  active_by_gate({values.data(), 1, 6, 6}, ActiveRuns::whole(6).runs(), runs);
  EXPECT_EQ(list(runs), (std::vector<ActiveRun>{{2, 2}, {5, 1}}));
  const ActiveRun within[] = {{1, 2}, {4, 2}};
  active_by_product({values.data(), 2, 6, 6}, within, runs);
  EXPECT_EQ(list(runs), (std::vector<ActiveRun>{{2, 1}, {4, 2}}));
}

TEST(Sampler, GreedyTakesTheFirstOfEqualsAndRefusesNaN) {
  const std::vector<float> logits = {0, 3, 1, 3};
  EXPECT_EQ(sample(logits, {}, 0), 1);
  EXPECT_THROW(sample(std::vector<float>{1, std::nanf("")}, {}, 0), Error);
  EXPECT_THROW(sample(std::vector<float>(3, -INFINITY), {}, 0), Error);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  const std::vector<float> logits = {0, 1, 2, -INFINITY, 1};
  SamplerOptions options;
  options.temperature = 0.5;
  const double weights[] = {1, std::exp(2.0), std::exp(4.0), 0, std::exp(2.0)};
  const double sum = 1 + 2 * std::exp(2.0) + std::exp(4.0);
  constexpr int kDraws = 20000;
  std::vector<int> hits(5);
  for (int i = 0; i < kDraws; ++i)
    ++hits[static_cast<std::size_t>(sample(logits, options, static_cast<std::uint64_t>(i)))];
  for (std::size_t i = 0; i < 5; ++i) {  // five standard deviations
    const double p = weights[i] / sum;
    EXPECT_NEAR(hits[i], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << i;
  }
  options.seed = 1;
  int equal = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(sample(logits, options, i), sample(logits, options, i));
    SamplerOptions other = options;
    other.seed = 2;
    equal += sample(logits, options, i) == sample(logits, other, i);
  }
  EXPECT_LT(equal, 100);
}

TEST(Sampler, TopKAndTopPCutTheTail) {
  const std::vector<float> logits = {0, 1, 2, 3, 2};
  SamplerOptions options;
  options.temperature = 5;
  const auto seen = [&] {
    std::map<std::int32_t, int> ids;
    for (std::uint64_t i = 0; i < 500; ++i) ++ids[sample(logits, options, i)];
    std::vector<std::int32_t> out;
    for (const auto& [id, hits] : ids) out.push_back(id);
    return out;
  };
  EXPECT_EQ(seen(), (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
  options.top_k = 2;
  EXPECT_EQ(seen(), (std::vector<std::int32_t>{2, 3}));
  options.top_k = 0;
  options.temperature = 1;  // probabilities 0.032 0.086 0.233 0.635(3) ...: 3 alone has 0.51
  options.top_p = 0.5;
  EXPECT_EQ(seen(), (std::vector<std::int32_t>{3}));
  options.top_p = 0.6;
  EXPECT_EQ(seen(), (std::vector<std::int32_t>{2, 3}));
  for (const SamplerOptions& bad :
       {SamplerOptions{-1}, SamplerOptions{1, -1}, SamplerOptions{1, 0, 0}, SamplerOptions{1, 0, 1.5}})
    EXPECT_THROW(bad.check(), Error);
}

TEST(StopWatch, HoldsBackWhatMayBecomeAStopText) {
  StopWatch watch({"STOP", "Sun"});
  EXPECT_EQ(watch.push("a ST"), "a ");
  EXPECT_EQ(watch.push("x S"), "STx ");
  EXPECT_EQ(watch.push("u"), "");
  EXPECT_EQ(watch.push("nny"), "");
  EXPECT_TRUE(watch.found());
  EXPECT_EQ(watch.push("more"), "");
  StopWatch open({"STOP"});
  EXPECT_EQ(open.push("the STO"), "the ");
  EXPECT_EQ(open.finish(), "STO");
  StopWatch none({});
  EXPECT_EQ(none.push("all"), "all");
}

}  // namespace
}  // namespace lacuna
