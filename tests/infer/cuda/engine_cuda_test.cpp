// The engine on a GPU, on random models: against a forward in double, and its promises of equal bits.
#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/error.h"
#include "src/infer/cuda/cuda_backend.h"
#include "src/infer/cuda/cuda_inference.h"
#include "src/infer/measure.h"
#include "tests/infer/cuda/gpu_runs.h"

namespace lacuna {
namespace {

using namespace test;

void check_model(const ModelConfig& config, DType dtype, const std::string& what) {
  const std::vector<std::int32_t> ids = some_ids(37, config.vocab);
  Engine engine = gpu_engine(ModelMaker(config, dtype, false).make(), "dense");
  const Reference want = reference_forward(engine.weights().source(), ids);
  const double rounding = dtype == DType::BF16 ? 0x1p-8 : 0;
  expect_close(all_logits(engine, ids, true), want, config, 0x1p-8 * (dtype == DType::BF16),
               what + " one by one");
  expect_close(all_logits(engine, ids, false), want, config, rounding, what + " at once");
}

TEST(CudaEngine, AgreesWithDoubleInEveryVariantOfTheModel) {
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
    ModelConfig config = small_config(activation);
    for (DType dtype : {DType::F32, DType::BF16, DType::F16, DType::F64})
      check_model(config, dtype, name_of(activation) + " " + std::string(name_of(dtype)));
    config.qkv_bias = true;
    config.sliding_window = 9;
    config.tied_embeddings = true;
    check_model(config, DType::F32, name_of(activation) + " with biases and a window");
    config.qk_norm = true;
    config.rope_scaling.kind = "linear";
    config.rope_scaling.factor = 4;
    config.kv_heads = config.heads;
    check_model(config, DType::F32, name_of(activation) + " with norms per head");
  }
}

TEST(CudaEngine, ShortStepsAndSingleTokensAndRunsHaveTheSameBits) {
  for (DType dtype : {DType::F32, DType::BF16}) {
    const ModelConfig config = small_config(Activation::Drelu);
    const std::vector<std::int32_t> ids = some_ids(24, config.vocab);
    Engine engine = gpu_engine(ModelMaker(config, dtype, false).make(), "auto");
    const std::vector<float> want = all_logits(engine, ids, true);
    EXPECT_TRUE(same_bits(all_logits(engine, ids, true), want));
    std::vector<float> got;
    engine.reset();
    for (std::size_t at = 0; at < ids.size(); at += 6)
      engine.score(std::span(ids).subspan(at, 6), [&](std::int64_t, ConstRows logits) {
        for (std::int64_t t = 0; t < logits.count; ++t)
          got.insert(got.end(), logits.row(t), logits.row(t) + logits.width);
      });
    EXPECT_TRUE(same_bits(got, want));
    engine.reset();
    for (std::size_t t = 0; t < ids.size(); ++t) {
      const auto row = want.begin() + static_cast<std::ptrdiff_t>(t * 53);
      EXPECT_EQ(engine.decode_greedy(ids[t]), std::max_element(row, row + 53) - row);
    }
  }
}

TEST(CudaEngine, SparseAndDenseAndBundledGiveTheSameBits) {
  for (Activation activation : {Activation::Relu, Activation::Drelu})
    for (DType dtype : {DType::F32, DType::BF16}) {
      const ModelConfig config = small_config(activation);
      const std::vector<std::int32_t> ids = some_ids(40, config.vocab);
      Engine dense = gpu_engine(ModelMaker(config, dtype, false).make(), "dense");
      const std::vector<float> want = all_logits(dense, ids, true);
      for (bool bundled : {false, true}) {
        Engine sparse = gpu_engine(ModelMaker(config, dtype, bundled).make(), "sparse");
        EXPECT_TRUE(same_bits(all_logits(sparse, ids, true), want));
        EXPECT_EQ(sparse.statistics().sparsity(), dense.statistics().sparsity());
      }
    }
}

TEST(CudaEngine, ReadsExactlyTheRowsOfActiveNeurons) {
  for (Activation activation : {Activation::Relu, Activation::Drelu}) {
    const ModelConfig config = small_config(activation);
    const std::vector<std::int32_t> ids = some_ids(25, config.vocab);
    Engine engine = gpu_engine(ModelMaker(config, DType::F32, true).make(), "sparse");
    const Reference want = reference_forward(engine.weights().source(), ids);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      engine.clear_statistics();
      engine.decode(ids[t]);
      const FfnStatistics& statistics = engine.statistics();
      EXPECT_EQ(statistics.tokens, 1);
      EXPECT_EQ(statistics.steps, 1);
      for (std::size_t layer = 0; layer < want.open.size(); ++layer) {
        const FfnStatistics::Layer& got = statistics.layers[layer];
        EXPECT_EQ(got.up_rows, want.open[layer][t]);
        EXPECT_EQ(got.down_rows, want.nonzero[layer][t]);
        EXPECT_EQ(got.zeros, config.ffn - want.nonzero[layer][t]);
        EXPECT_EQ(got.elements, config.ffn);
      }
    }
  }
}

// Neurons 0, 3, 6, ... have a gate row of zeros, so their gate is never open: exactly these may hold NaN.
TEST(CudaEngine, NanInRowsOfInactiveNeuronsChangesNoBit) {
  const Change shut = [](const std::string& name, std::int64_t row, std::int64_t, float value) {
    return name.ends_with("gate_proj.weight") && row % 3 == 0 ? 0.0f : value;
  };
  const Change poisoned = [&](const std::string& name, std::int64_t row, std::int64_t column, float value) {
    if (name.ends_with("up_proj.weight") && row % 3 == 0) return std::nanf("");
    if (name.ends_with("down_proj.weight") && column % 3 == 0) return std::nanf("");
    return shut(name, row, column, value);
  };
  for (DType dtype : {DType::F32, DType::BF16})
    for (bool bundled : {false, true}) {
      const ModelConfig config = small_config(Activation::Drelu);
      const std::vector<std::int32_t> ids = some_ids(20, config.vocab);
      Engine clean = gpu_engine(ModelMaker(config, dtype, bundled).make(shut), "sparse");
      Engine other = gpu_engine(ModelMaker(config, dtype, bundled).make(poisoned), "sparse");
      EXPECT_TRUE(same_bits(all_logits(other, ids, true), all_logits(clean, ids, true)));
    }
}

// The cache grows past its first room; what was stored stays, and the graph is recorded anew.
TEST(CudaEngine, TheCacheGrowsWithoutAChange) {
  ModelConfig config = small_config(Activation::Silu);
  config.max_positions = 2200;
  const std::vector<std::int32_t> ids = some_ids(1100, config.vocab);
  Engine engine = gpu_engine(ModelMaker(config, DType::F32, false).make(), "dense");
  engine.prefill(std::span(ids).first(1020));
  std::vector<float> got;
  for (std::int32_t id : std::span(ids).subspan(1020)) {
    const std::span<const float> logits = engine.decode(id);
    got.assign(logits.begin(), logits.end());
  }
  Engine cpu(ModelMaker(config, DType::F32, false).make(), {1, "dense"});
  const std::span<const float> want = cpu.prefill(ids);
  double size = 0;
  for (float logit : want) size = std::max(size, std::abs(double{logit}));
  for (std::size_t i = 0; i < want.size(); ++i)  // both err by less than the bound of expect_close
    ASSERT_NEAR(got[i], want[i], 2 * 3 * (6.0 + 70 + 1100 + 40) * 8.4 * 0x1p-24 * size);
}

TEST(CudaEngine, ReportsLogitsThatAreNotNumbers) {
  const Change broken = [](const std::string& name, std::int64_t row, std::int64_t, float value) {
    return name == "lm_head.weight" && row == 7 ? std::nanf("") : value;
  };
  Engine engine =
      gpu_engine(ModelMaker(small_config(Activation::Silu), DType::F32, false).make(broken), "dense");
  try {
    engine.decode_greedy(3);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Numeric);
    EXPECT_NE(std::string(error.what()).find("the logit of token 7 is NaN"), std::string::npos);
  }
}

// Random weights on the GPU are those of the CPU: the same rows, and logits as close as sums in fp32 get.
TEST(CudaRandomModel, IsTheModelOfTheCpu) {
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
    const ModelConfig config = small_config(activation);
    const char* path = activation == Activation::Silu ? "dense" : "sparse";
    const std::unique_ptr<RandomModel> gpu = make_random_gpu_model(config, {}, path, 100);
    const std::unique_ptr<RandomModel> cpu = make_random_model(config, DType::BF16, path, 1, 100);
    for (double zeros : {0.9, 0.4}) {
      gpu->set_zeros(zeros);
      cpu->set_zeros(zeros);
      gpu->backend().clear_statistics();
      cpu->backend().clear_statistics();
      // The cache of the GPU holds bf16: one rounding of keys and values.
      expect_alike(
          *gpu, *cpu, [](double size) { return 3 * 4 * 0x1p-8 * size; }, path);
      for (std::size_t layer = 0; layer < 3; ++layer) {
        const FfnStatistics::Layer &a = gpu->backend().statistics().layers[layer],
                                   &b = cpu->backend().statistics().layers[layer];
        EXPECT_EQ(a.up_rows, b.up_rows);
        EXPECT_EQ(a.down_rows, b.down_rows);
        EXPECT_EQ(a.zeros, b.zeros);
      }
      EXPECT_EQ(gpu->bytes_per_token(9, 5), cpu->bytes_per_token(9, 5));
    }
  }
}

TEST(CudaReadStream, IsASpeedOfMemory) {
  const double speed = gpu_read_stream(std::size_t{256} << 20, 3);
  EXPECT_GT(speed, 1e11);
  EXPECT_LT(speed, 2e13);
}

}  // namespace
}  // namespace lacuna
