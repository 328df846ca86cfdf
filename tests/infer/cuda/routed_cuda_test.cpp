// The engine on a GPU, on routed models: against a forward in double, the CPU and the dense model, and its
// promises of equal bits.
#include <gtest/gtest.h>

#include "src/base/error.h"
#include "src/infer/cuda/cuda_backend.h"
#include "tests/infer/cuda/gpu_runs.h"

namespace lacuna {
namespace {

using namespace test;

constexpr RouterKind kKinds[] = {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                 RouterKind::Random, RouterKind::None};

// Routers of all kinds in fp32, whose choices no rounding changes in these models; in bf16 those that choose
// without looking.
void check_routed(const ModelConfig& config, DType dtype, const Change& change, const std::string& what) {
  const std::vector<std::int32_t> ids = some_ids(37, config.vocab);
  Engine engine = gpu_engine(ModelMaker(config, dtype, false).make(change), "auto");
  const Reference want = reference_forward(engine.weights().source(), ids);
  const double rounding = dtype == DType::BF16 ? 0x1p-8 : 0;
  expect_close(all_logits(engine, ids, true), want, config, rounding, what + " one by one");
  expect_close(all_logits(engine, ids, false), want, config, rounding, what + " at once");
}

TEST(CudaRouted, AgreesWithDoubleForEveryRouter) {
  for (const RouterKind kind : kKinds)
    for (const Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu})
      for (const bool threshold : {false, true}) {
        ModelConfig config = routed_config(kind, activation);
        if (threshold && !config.routed.has_bias()) continue;
        config.routed.threshold = threshold;
        const Change lower = [&](const std::string& name, std::int64_t, std::int64_t, float value) {
          return name.ends_with("router.bias") && kind != RouterKind::Linear ? value - 1 : value;
        };
        const std::string what = name_of(kind) + " " + name_of(activation) + (threshold ? " threshold" : "");
        check_routed(config, DType::F32, lower, what);
        if (!config.routed.has_scores()) check_routed(config, DType::BF16, lower, what + " bf16");
      }
}

TEST(CudaRouted, AgreesWithTheCpu) {
  for (const RouterKind kind : kKinds)
    for (const Activation activation : {Activation::Silu, Activation::Drelu})
      for (const bool bundled : {false, true}) {
        const ModelConfig config = routed_config(kind, activation);
        const std::vector<std::int32_t> ids = some_ids(37, config.vocab);
        Engine gpu = gpu_engine(ModelMaker(config, DType::F32, bundled).make(), "sparse");
        Engine cpu(ModelMaker(config, DType::F32, bundled).make(), {1, "sparse"});
        const std::vector<float> want = test::all_logits(cpu, ids), got = all_logits(gpu, ids, true);
        float size = 0;
        for (const float logit : want) size = std::max(size, std::abs(logit));
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < got.size(); ++i)  // twice the bound of one against double
          ASSERT_NEAR(got[i], want[i], 2 * close_bound(config, 0, size)) << name_of(kind) << " at " << i;
        for (std::size_t layer = 0; layer < 3; ++layer)  // the last steps of the CPU had many tokens
          EXPECT_EQ(gpu.statistics().layers[layer].elements, cpu.statistics().layers[layer].elements);
        cpu.reset();
        cpu.clear_statistics();
        gpu.reset();
        gpu.clear_statistics();
        for (std::size_t t = 0; t < 5; ++t) {
          cpu.decode(ids[t]);
          gpu.decode(ids[t]);
        }
        for (std::size_t layer = 0; layer < 3; ++layer) {
          const FfnStatistics::Layer &a = gpu.statistics().layers[layer], &b = cpu.statistics().layers[layer];
          EXPECT_EQ(a.up_rows, b.up_rows);
          EXPECT_EQ(a.zeros, b.zeros);
          EXPECT_EQ(a.down_rows, a.elements - a.zeros);  // the CPU reads those of zero products too
        }
      }
}

TEST(CudaRouted, PathsAndShortStepsAndRunsHaveTheSameBits) {
  for (const RouterKind kind : kKinds)
    for (const DType dtype : {DType::F32, DType::BF16}) {
      const ModelConfig config = routed_config(kind);
      const std::vector<std::int32_t> ids = some_ids(24, config.vocab);
      Engine engine = gpu_engine(ModelMaker(config, dtype, false).make(), "sparse");
      const std::vector<float> want = all_logits(engine, ids, true);
      EXPECT_TRUE(same_bits(all_logits(engine, ids, true), want)) << name_of(kind);
      Engine dense = gpu_engine(ModelMaker(config, dtype, true).make(), "dense");
      EXPECT_TRUE(same_bits(all_logits(dense, ids, true), want)) << name_of(kind);
      EXPECT_EQ(dense.statistics().sparsity(), engine.statistics().sparsity());
      std::vector<float> got;
      engine.reset();
      for (std::size_t at = 0; at < ids.size(); at += 6)
        engine.score(std::span(ids).subspan(at, 6), [&](std::int64_t, ConstRows logits) {
          for (std::int64_t t = 0; t < logits.count; ++t)
            got.insert(got.end(), logits.row(t), logits.row(t) + logits.width);
        });
      EXPECT_TRUE(same_bits(got, want)) << name_of(kind);
    }
}

// The dense model in its own form of the kernels: row-major for silu, gate first for drelu.
TEST(CudaRouted, AllExpertsOnIsTheDenseModel) {
  for (const Activation activation : {Activation::Silu, Activation::Drelu}) {
    ModelConfig config = routed_config(RouterKind::Linear, activation);
    config.routed.active = {5};
    const Change fresh = [](const std::string& name, std::int64_t, std::int64_t, float value) {
      if (name.ends_with("experts.mean")) return std::nanf("");  // nothing stands in
      return name.ends_with("router.scale") ? 0.0F : value;
    };
    const std::vector<std::int32_t> ids = some_ids(40, config.vocab);
    Engine routed = gpu_engine(ModelMaker(config, DType::F32, false).make(fresh), "sparse");
    config.routed = {};
    Engine dense = gpu_engine(ModelMaker(config, DType::F32, false).make(), "dense");
    const Reference want = reference_forward(dense.weights().source(), ids);
    for (const bool one_by_one : {true, false}) {
      expect_close(all_logits(routed, ids, one_by_one), want, config, 0, name_of(activation) + " routed");
      expect_close(all_logits(dense, ids, one_by_one), want, config, 0, name_of(activation) + " dense");
    }
  }
}

// No expert is ever on: all their rows may hold NaN.
TEST(CudaRouted, NanInExpertsThatAreOffChangesNoBit) {
  const ModelConfig config = routed_config(RouterKind::None);
  const auto off = [&](const std::string& name, std::int64_t neuron) {
    return neuron >= config.routed.shared[static_cast<std::size_t>(name[std::strlen("model.layers.")] - '0')];
  };
  const Change poisoned = [&](const std::string& name, std::int64_t row, std::int64_t column, float value) {
    const bool by_row = name.ends_with("gate_proj.weight") || name.ends_with("up_proj.weight");
    const bool by_column = name.ends_with("down_proj.weight");
    return (by_row && off(name, row)) || (by_column && off(name, column)) ? std::nanf("") : value;
  };
  for (const DType dtype : {DType::F32, DType::BF16})
    for (const bool bundled : {false, true}) {
      const std::vector<std::int32_t> ids = some_ids(20, config.vocab);
      Engine clean = gpu_engine(ModelMaker(config, dtype, bundled).make(), "sparse");
      Engine other = gpu_engine(ModelMaker(config, dtype, bundled).make(poisoned), "sparse");
      EXPECT_TRUE(same_bits(all_logits(other, ids, true), all_logits(clean, ids, true)));
    }
}

TEST(CudaRouted, ReadsOnlyWhatIsOn) {
  ModelConfig config = routed_config(RouterKind::Linear);
  config.routed.shared = {20};
  config.routed.active = {2};  // of 5 experts of 10
  Engine engine = gpu_engine(ModelMaker(config, DType::F32, false).make(), "sparse");
  const auto expect = [&](std::int64_t steps, std::int64_t tokens, std::int64_t rows) {
    for (const FfnStatistics::Layer& layer : engine.statistics().layers) {
      EXPECT_EQ(layer.up_rows, steps * rows);
      EXPECT_EQ(layer.down_rows, steps * rows);
      EXPECT_EQ(layer.elements, tokens * 70);
      EXPECT_EQ(layer.zeros, tokens * 30);
    }
    engine.clear_statistics();
  };
  engine.decode(3);
  engine.decode(4);
  expect(2, 2, 40);
  engine.prefill(some_ids(19, config.vocab));  // a step of many tokens reads all experts
  expect(1, 19, 70);
}

TEST(CudaRouted, RefusesTheOracle) {
  const ModelConfig config = routed_config(RouterKind::Oracle);
  try {
    gpu_engine(ModelMaker(config, DType::F32, false).make(), "auto");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    EXPECT_NE(std::string(error.what()).find("the oracle router"), std::string::npos);
  }
}

// Random weights on the GPU are those of the CPU, a router among them.
TEST(CudaRoutedRandomModel, IsTheModelOfTheCpu) {
  for (const RouterKind kind : kKinds) {
    const ModelConfig config = routed_config(kind);
    const GpuOptions fp32{"fp32"};
    const std::unique_ptr<RandomModel> gpu = make_random_gpu_model(config, fp32, "sparse", 100);
    const std::unique_ptr<RandomModel> cpu = make_random_model(config, DType::F32, "sparse", 1, 100);
    expect_alike(
        *gpu, *cpu, [&](double size) { return 2 * close_bound(config, 0, size); }, name_of(kind));
    for (std::size_t layer = 0; layer < 3; ++layer)
      EXPECT_EQ(gpu->backend().statistics().layers[layer].up_rows,
                cpu->backend().statistics().layers[layer].up_rows);
    EXPECT_EQ(gpu->bytes_per_token(9, 5), cpu->bytes_per_token(9, 5));
    const std::unique_ptr<RandomModel> bf16 = make_random_gpu_model(config, {}, "sparse", 100);
    EXPECT_EQ(bf16->bytes_per_token(9, 5),
              make_random_model(config, DType::BF16, "sparse", 1, 100)->bytes_per_token(9, 5));
  }
}

}  // namespace
}  // namespace lacuna
