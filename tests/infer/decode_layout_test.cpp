// Where weights lie on a GPU: nothing overlaps, rows are aligned, and bytes add up.
#include "src/infer/decode_layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/arch/presets.h"
#include "src/base/error.h"
#include "src/infer/weights.h"
#include "tests/infer/random_model.h"

namespace lacuna {
namespace {

using namespace test;

struct Span {
  std::int64_t begin, end;
};

// Every placed thing as bytes; of a pair the two interleaved matrices as one.
std::vector<Span> spans(const DecodeLayout& layout) {
  std::vector<Span> out;
  const auto matrix = [&](const PlacedMatrix& m) {
    const auto element = static_cast<std::int64_t>(size_of(m.dtype));
    EXPECT_EQ(m.offset % 16, 0);
    EXPECT_EQ(m.stride * element % 16, 0);
    EXPECT_GE(m.stride, m.cols);
    out.push_back({m.offset, m.offset + m.rows * m.stride * element});
  };
  const auto floats = [&](std::int64_t offset, std::int64_t count) {
    if (offset >= 0) out.push_back({offset, offset + (count + 3) / 4 * 16});
  };
  const ModelConfig& config = layout.config;
  matrix(layout.embedding);
  if (!config.tied_embeddings) matrix(layout.head);
  floats(layout.final_norm, config.hidden);
  for (const PlacedLayer& layer : layout.layers) {
    floats(layer.attention_norm, config.hidden);
    floats(layer.ffn_norm, config.hidden);
    floats(layer.query_norm, config.head_dim);
    floats(layer.key_norm, config.head_dim);
    floats(layer.qkv_bias, config.query_width() + 2 * config.kv_width());
    matrix(layer.qkv);
    matrix(layer.output);
    matrix(layer.gate);
    matrix(layer.up);
    if (layout.neuron_major) {
      EXPECT_EQ(layer.down.stride, layer.up.stride);
      EXPECT_EQ(layer.down.offset - layer.up.offset,
                layer.up.stride * static_cast<std::int64_t>(size_of(layout.dtype)) / 2);
      EXPECT_GE(layer.up.stride / 2, layer.up.cols);
    } else {
      matrix(layer.down);
    }
    if (!config.is_routed()) continue;
    if (layer.router.rows.rows > 0) matrix(layer.router.rows);
    matrix(layer.router.mean);
    EXPECT_EQ(layer.router.rows.dtype, DType::F32);
    EXPECT_EQ(layer.router.mean.dtype, DType::F32);
    floats(layer.router.bias, config.routed.experts);
    floats(layer.router.scale, config.routed.experts);
    floats(layer.router.begin, config.routed.experts + 1);
  }
  return out;
}

void expect_apart(const DecodeLayout& layout) {
  std::vector<Span> all = spans(layout);
  std::sort(all.begin(), all.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_LE(all[i - 1].end, all[i].begin);
  EXPECT_LE(all.back().end, layout.bytes);
  EXPECT_EQ(layout.head.offset == layout.embedding.offset, layout.config.tied_embeddings);
}

ModelConfig with_experts(ModelConfig config, RouterKind kind) {
  config.routed.experts = 5;
  config.routed.active = {2};
  config.routed.shared = {11, 0, 40};
  config.routed.router = kind;
  config.routed.rank = config.routed.has_rows() ? 3 : 0;
  config.complete_and_check("routed model");
  return config;
}

TEST(DecodeLayout, PlacesEverythingAlignedAndApart) {
  for (Activation activation : {Activation::Silu, Activation::Drelu})
    for (DType dtype : {DType::F32, DType::BF16})
      for (bool extras : {false, true}) {
        ModelConfig config = small_config(activation);  // 48 wide, FFN 70, heads of 10: nothing is even
        config.qkv_bias = config.qk_norm = config.tied_embeddings = extras;
        expect_apart(decode_layout(config, dtype, activation != Activation::Silu));
        for (RouterKind kind : {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                RouterKind::Random, RouterKind::None}) {
          const DecodeLayout routed = decode_layout(with_experts(config, kind), dtype, false);
          EXPECT_TRUE(routed.neuron_major);
          const bool weight = kind == RouterKind::Linear || kind == RouterKind::LowRank;
          EXPECT_EQ(routed.layers[1].router.rows.rows, (weight ? 5 : 0) + 2 * 5 * routed.config.routed.rank);
          expect_apart(routed);
        }
      }
}

// As the CPU counts them: gate rows go with up rows, the router and all means are read.
TEST(DecodeLayout, CountsWhatARoutedFfnReads) {
  const ModelConfig config = with_experts(small_config(Activation::Silu), RouterKind::LowRank);
  for (DType dtype : {DType::F32, DType::BF16}) {
    const Weights weights(ModelMaker(config, dtype, false).make());
    const DecodeLayout layout = decode_layout(config, dtype, false);
    EXPECT_EQ(layout.bytes_per_token(40, 40), weights.bytes_per_token(40, 40));
    EXPECT_EQ(layout.bytes_per_token(70, 70) - layout.bytes_per_token(40, 40),
              3.0 * 30 * 3 * 48 * static_cast<double>(size_of(dtype)));  // layers, neurons, matrices, hidden
  }
}

TEST(DecodeLayout, CountsTheBytesThatATokenReads) {
  const ModelConfig config = [] {
    ModelConfig out = read_arch("mistral-7b");
    out.complete_and_check("preset");
    return out;
  }();
  const DecodeLayout layout = decode_layout(config, DType::BF16, true);
  // 32 layers of attention (4096 x (4096 + 2·1024) + 4096²), three FFN matrices, the head, one embedding row
  const double dense =
      2.0 * (32 * (4096.0 * 6144 + 4096.0 * 4096 + 3 * 4096.0 * 14336) + 32000 * 4096.0 + 4096);
  EXPECT_EQ(layout.bytes_per_token(14336, 14336), dense);
  EXPECT_EQ(dense - layout.bytes_per_token(14336, 1434), 2.0 * 32 * 4096 * (14336 - 1434));
  EXPECT_EQ(layout.cache_bytes_per_position(), 131072);
}

TEST(DecodeLayout, SaysWhatAGpuDoesNotRun) {
  ModelConfig config = small_config(Activation::Silu);
  config.head_dim = 256;
  EXPECT_NO_THROW(decode_layout(config, DType::BF16, false));
  const auto complaint = [](const ModelConfig& of, DType dtype) -> std::string {
    try {
      decode_layout(of, dtype, false);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(
      complaint(config, DType::F32).find("up to 128 in F32, and this model's are 256; use --dtype bf16"),
      std::string::npos);
  config.head_dim = 258;
  EXPECT_NE(complaint(config, DType::BF16).find("use --device cpu"), std::string::npos);
  config = with_experts(small_config(Activation::Silu), RouterKind::Oracle);
  EXPECT_NE(complaint(config, DType::BF16).find("the oracle router reads every neuron before it chooses"),
            std::string::npos);
}

}  // namespace
}  // namespace lacuna
