// The engine on routed models: against a forward in double, the dense model, and its promises of equal bits.
#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/infer/engine.h"
#include "tests/infer/engine_runs.h"
#include "tests/infer/random_model.h"

namespace lacuna {
namespace {

using namespace test;

constexpr RouterKind kKinds[] = {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                 RouterKind::Oracle, RouterKind::Random,  RouterKind::None};

double largest_difference(const std::vector<float>& got, const Reference& want) {
  double largest = 0;
  for (std::size_t t = 0, i = 0; t < want.logits.size(); ++t)
    for (const double logit : want.logits[t]) largest = std::max(largest, std::abs(got[i++] - logit));
  return largest;
}

// About 300 roundings of 2⁻²⁴ on the way of a logit of size 4; a wrong expert changes logits by tenths. Ties
// within rounding do not occur in these models.
constexpr double kRounding = 300 * 0x1p-24 * 4;

TEST(RoutedEngine, AgreesWithDoubleForEveryRouter) {
  for (const RouterKind kind : kKinds)
    for (const Activation activation : {Activation::Silu, Activation::Drelu})
      for (const bool threshold : {false, true}) {
        ModelConfig config = routed_config(kind, activation);
        if (threshold && !config.routed.has_bias()) continue;
        config.routed.threshold = threshold;
        const auto lower = [&](const std::string& name, std::int64_t, std::int64_t, float value) {
          return name.ends_with("router.bias") && kind != RouterKind::Linear ? value - 1 : value;
        };
        const std::vector<std::int32_t> ids = some_ids(21, config.vocab);
        Engine engine(ModelMaker(config, DType::F32, activation == Activation::Drelu).make(lower), {2});
        const Reference want = reference_forward(engine.weights().source(), ids);
        EXPECT_LE(largest_difference(all_logits(engine, ids), want), kRounding)
            << name_of(kind) << " " << name_of(activation) << (threshold ? " threshold" : "");
      }
}

TEST(RoutedEngine, BitsDependNeitherOnThreadsNorPathNorOnTheCutIntoSteps) {
  for (const RouterKind kind : kKinds) {
    const ModelConfig config = routed_config(kind);
    const std::vector<std::int32_t> ids = some_ids(530, config.vocab);
    Engine one(ModelMaker(config, DType::BF16, false).make(), {1});
    const std::vector<float> want = all_logits(one, ids);
    for (const char* path : {"auto", "dense"}) {
      Engine other(ModelMaker(config, DType::BF16, false).make(), {3, path});
      EXPECT_EQ(all_logits(other, ids), want) << name_of(kind) << " " << path;
      other.reset();
      for (std::size_t at = 0; at < 40; ++at) {
        const std::span<const float> logits = other.decode(ids[at]);
        const auto from = want.begin() + static_cast<std::ptrdiff_t>(at) * config.vocab;
        EXPECT_TRUE(std::equal(logits.begin(), logits.end(), from)) << name_of(kind) << " token " << at;
      }
    }
  }
}

TEST(RoutedEngine, AllExpertsOnIsTheDenseModelToTheBit) {
  for (const Activation activation : {Activation::Silu, Activation::Drelu}) {
    ModelConfig config = routed_config(RouterKind::Linear, activation);
    config.routed.active = {5};
    const auto fresh = [](const std::string& name, std::int64_t, std::int64_t, float value) {
      return name.ends_with("router.scale") ? 0.0F : value;
    };
    const std::vector<std::int32_t> ids = some_ids(60, config.vocab);
    Engine routed(ModelMaker(config, DType::F32, false).make(fresh), {2});
    config.routed = {};
    Engine dense(ModelMaker(config, DType::F32, false).make(), {2});
    EXPECT_EQ(all_logits(routed, ids), all_logits(dense, ids)) << name_of(activation);
  }
}

TEST(RoutedEngine, ReadsOnlyWhatIsOn) {
  ModelConfig config = routed_config(RouterKind::Linear);
  config.routed.shared = {20};
  config.routed.active = {2};  // of 5 experts of 10
  Engine engine(ModelMaker(config, DType::F32, false).make(), {1});
  engine.decode(3);
  engine.decode(4);
  for (const FfnStatistics::Layer& layer : engine.statistics().layers) {
    EXPECT_EQ(layer.up_rows, 2 * 40);
    EXPECT_EQ(layer.down_rows, 2 * 40);
    EXPECT_EQ(layer.elements, 2 * 70);
    EXPECT_EQ(layer.zeros, 2 * 30);
  }
  const double all = engine.weights().bytes_per_token(70, 70),
               some = engine.weights().bytes_per_token(40, 40);
  EXPECT_EQ(all - some, 3.0 * 30 * 3 * 48 * 4);  // layers, neurons, gate and up and down, hidden, fp32
}

TEST(RoutedEngine, RecordsAndFollowsRoutes) {
  for (const RouterKind kind : kKinds) {
    const ModelConfig config = routed_config(kind);
    const std::vector<std::int32_t> ids = some_ids(9, config.vocab);
    Engine engine(ModelMaker(config, DType::F32, false).make(), {1});
    RouteTrace trace;
    trace.length = 9;
    engine.trace_routes(&trace);
    const std::vector<float> own = all_logits(engine, ids);
    ASSERT_EQ(trace.on.size(), 3u * 9 * 5);
    std::int64_t on = 0;
    for (const std::uint8_t one : trace.on) on += one;
    EXPECT_EQ(on, kind == RouterKind::None ? 0 : 9 * (2 + 3 + 1));
    trace.follow = true;
    EXPECT_EQ(all_logits(engine, ids), own);
    EXPECT_EQ(trace.doubt, 0);
    const std::vector<std::uint8_t> first(trace.on.begin(), trace.on.begin() + 5);
    std::rotate(trace.on.begin(), trace.on.begin() + 1, trace.on.begin() + 5);  // other experts, as many
    if (std::equal(first.begin(), first.end(), trace.on.begin())) continue;
    EXPECT_NE(all_logits(engine, ids), own) << name_of(kind);
    EXPECT_GT(trace.doubt, 1e-3) << name_of(kind);
    EXPECT_EQ(std::isinf(trace.doubt), !config.routed.has_bias()) << name_of(kind);
  }
}

TEST(RoutedEngine, RefusesTheOracleOffTheDensePath) {
  const ModelConfig config = routed_config(RouterKind::Oracle);
  EXPECT_EQ(Engine(ModelMaker(config, DType::F32, false).make(), {1}).path(), FfnPath::Dense);
  EXPECT_THROW(Engine(ModelMaker(config, DType::F32, false).make(), {1, "sparse"}), Error);
}

}  // namespace
}  // namespace lacuna
