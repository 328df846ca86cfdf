// The engine on random models: against a forward in double, and its promises of equal bits.
#include "src/infer/engine.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/error.h"
#include "tests/infer/engine_runs.h"
#include "tests/infer/random_model.h"

namespace lacuna {
namespace {

using namespace test;

// Bit for bit; NaN differs from nothing but NaN.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_close(const ModelConfig& config, DType dtype) {
  const std::vector<std::int32_t> ids = some_ids(37, config.vocab);
  Engine engine(ModelMaker(config, dtype, false).make(), {2, "dense"});
  const Reference want = reference_forward(engine.weights().source(), ids);
  const std::vector<float> got = all_logits(engine, ids);
  double size = 0;
  for (const auto& row : want.logits)
    for (double logit : row) size = std::max(size, std::abs(logit));
  // Each block's sums err by at most (h/16 + q/16 + f + keys + 40) units of their terms' size; the norms
  // scale the stream to size 1, and terms are some sqrt(width) larger than their sum.
  const double steps = static_cast<double>(config.hidden) / 8 + static_cast<double>(config.ffn) + 37 + 40;
  const double bound = static_cast<double>(config.layers) * steps *
                       std::sqrt(static_cast<double>(config.ffn)) * 0x1p-24 * size;
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(
        got[i],
        want.logits[i / static_cast<std::size_t>(config.vocab)][i % static_cast<std::size_t>(config.vocab)],
        bound);
}

TEST(Engine, AgreesWithDoubleInEveryVariantOfTheModel) {
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
    ModelConfig config = small_config(activation);
    for (DType dtype : {DType::F32, DType::BF16, DType::F16, DType::F64}) expect_close(config, dtype);
    config.qkv_bias = true;
    config.sliding_window = 9;
    config.tied_embeddings = true;
    expect_close(config, DType::F32);
    config.qk_norm = true;
    config.rope_scaling.kind = "linear";
    config.rope_scaling.factor = 4;
    config.kv_heads = config.heads;
    expect_close(config, DType::BF16);
  }
}

TEST(Engine, BitsDependNeitherOnThreadsNorOnTheCutIntoSteps) {
  for (Activation activation : {Activation::Silu, Activation::Drelu}) {
    const ModelConfig config = small_config(activation);
    const std::vector<std::int32_t> ids = some_ids(600, config.vocab);  // more than one step, the cache grows
    Engine one(ModelMaker(config, DType::BF16, false).make(), {1});
    const std::vector<float> want = all_logits(one, ids);
    for (int threads : {2, 3, 5}) {
      Engine engine(ModelMaker(config, DType::BF16, false).make(), {threads});
      EXPECT_TRUE(same_bits(all_logits(engine, ids), want)) << threads;
    }
    std::vector<float> single;
    one.reset();
    for (std::int32_t id : std::span(ids).first(300)) {
      const std::span<const float> logits = one.decode(id);
      single.insert(single.end(), logits.begin(), logits.end());
    }
    EXPECT_TRUE(same_bits(single, {want.begin(), want.begin() + static_cast<std::ptrdiff_t>(single.size())}));
  }
}

TEST(Engine, SparseAndDenseAndBundledGiveTheSameBits) {
  for (Activation activation : {Activation::Relu, Activation::Drelu})
    for (DType dtype : {DType::F32, DType::BF16}) {
      const ModelConfig config = small_config(activation);
      const std::vector<std::int32_t> ids = some_ids(40, config.vocab);
      Engine dense(ModelMaker(config, dtype, false).make(), {2, "dense"});
      const std::vector<float> want = all_logits(dense, ids);
      for (bool bundled : {false, true}) {
        Engine sparse(ModelMaker(config, dtype, bundled).make(), {2, "sparse"});
        EXPECT_EQ(sparse.path(), FfnPath::Sparse);
        EXPECT_TRUE(same_bits(all_logits(sparse, ids), want));
        EXPECT_EQ(sparse.statistics().sparsity(), dense.statistics().sparsity());
        sparse.reset();
        std::vector<float> single;
        for (std::int32_t id : ids) {
          const std::span<const float> logits = sparse.decode(id);
          single.insert(single.end(), logits.begin(), logits.end());
        }
        EXPECT_TRUE(same_bits(single, want));
      }
    }
}

TEST(Engine, ReadsExactlyTheRowsOfActiveNeurons) {
  for (Activation activation : {Activation::Relu, Activation::Drelu}) {
    const ModelConfig config = small_config(activation);
    const std::vector<std::int32_t> ids = some_ids(25, config.vocab);
    Engine engine(ModelMaker(config, DType::F32, true).make(), {2, "sparse"});
    const Reference want = reference_forward(engine.weights().source(), ids);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      engine.clear_statistics();
      engine.decode(ids[t]);
      for (std::size_t layer = 0; layer < want.open.size(); ++layer) {
        const FfnStatistics::Layer& got = engine.statistics().layers[layer];
        EXPECT_EQ(got.up_rows, want.open[layer][t]);
        EXPECT_EQ(got.down_rows, want.nonzero[layer][t]);
        EXPECT_EQ(got.zeros, config.ffn - want.nonzero[layer][t]);
        EXPECT_EQ(got.elements, config.ffn);
        EXPECT_LT(got.up_rows, config.ffn);
      }
    }
  }
}

// Neurons 3, 6, 9, ... have a gate row of zeros, so their gate is never open: exactly these may hold NaN.
TEST(Engine, NanInRowsOfInactiveNeuronsChangesNoBit) {
  const Change shut = [](const std::string& name, std::int64_t row, std::int64_t, float value) {
    return name.ends_with("gate_proj.weight") && row % 3 == 0 ? 0.0f : value;
  };
  const Change poisoned = [&](const std::string& name, std::int64_t row, std::int64_t column, float value) {
    const bool up = name.ends_with("up_proj.weight") && row % 3 == 0;
    const bool down = name.ends_with("down_proj.weight") && column % 3 == 0;
    return up || down ? std::nanf("") : shut(name, row, column, value);
  };
  for (Activation activation : {Activation::Relu, Activation::Drelu})
    for (bool bundled : {false, true}) {
      const ModelConfig config = small_config(activation);
      const std::vector<std::int32_t> ids = some_ids(30, config.vocab);
      Engine clean(ModelMaker(config, DType::BF16, bundled).make(shut), {2, "sparse"});
      Engine sparse(ModelMaker(config, DType::BF16, bundled).make(poisoned), {2, "sparse"});
      Engine dense(ModelMaker(config, DType::BF16, bundled).make(poisoned), {2, "dense"});
      const std::vector<float> want = all_logits(clean, ids);
      EXPECT_TRUE(same_bits(all_logits(sparse, ids), want));  // prefill
      sparse.reset();
      std::vector<float> single;
      for (std::int32_t id : ids) {
        const std::span<const float> logits = sparse.decode(id);
        single.insert(single.end(), logits.begin(), logits.end());
      }
      EXPECT_TRUE(same_bits(single, want));                    // decode
      const std::vector<float> read = all_logits(dense, ids);  // the dense path does read them
      EXPECT_TRUE(std::all_of(read.begin(), read.end(), [](float x) { return std::isnan(x); }));
    }
}

std::string message_of(const std::function<void()>& run, ErrorKind kind) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

TEST(Engine, RefusesWhatItCannotDo) {
  const ModelConfig silu = small_config(Activation::Silu);
  const auto make = [&](ModelConfig config, EngineOptions options) {
    return std::make_unique<Engine>(ModelMaker(std::move(config), DType::F32, false).make(), options);
  };
  EXPECT_EQ(message_of(
                [&] {
                  make(silu, {1, "sparse"});
                },
                ErrorKind::Usage),
            "--path sparse needs a relu, drelu or routed model; this one is silu and has no neurons to skip");
  EXPECT_EQ(message_of(
                [&] {
                  make(silu, {1, "fast"});
                },
                ErrorKind::Usage),
            "--path 'fast' is unknown (auto, dense, sparse)");
  EXPECT_EQ(message_of(
                [&] {
                  make(silu, {1, "auto", 701});
                },
                ErrorKind::Usage),
            "--ctx 701 is beyond the 700 positions this model was trained for");
  ModelConfig scaled = silu;
  scaled.rope_scaling.kind = "linear";
  scaled.rope_scaling.factor = 2;
  EXPECT_EQ(make(scaled, {1, "auto", 1400})->context(), 1400);
  EXPECT_NE(message_of([&] { make(scaled, {1, "auto", 1401}); }, ErrorKind::Usage), "no error");

  const std::unique_ptr<Engine> engine = make(silu, {1, "auto", 4});
  const std::vector<std::int32_t> good = {1, 2, 3}, outside = {1, 53}, negative = {-1};
  engine->prefill(good);
  EXPECT_EQ(message_of([&] { engine->prefill(good); }, ErrorKind::Usage),
            "3 tokens after 3 do not fit a context of 4");
  EXPECT_EQ(message_of([&] { engine->decode(53); }, ErrorKind::BadInput),
            "token id 53 is outside the vocabulary of 53");
  EXPECT_NE(message_of([&] { engine->prefill(negative); }, ErrorKind::BadInput), "no error");
  EXPECT_EQ(message_of([&] { engine->prefill({}); }, ErrorKind::Usage), "no tokens to run");
  EXPECT_EQ(engine->position(), 3);
  engine->decode(5);
  EXPECT_EQ(engine->position(), engine->context());
}

}  // namespace
}  // namespace lacuna
