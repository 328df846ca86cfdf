#include "src/infer/cuda/prefill.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

cuda::DecodeLaunch in_order(cuda::DecodeLaunch how) {
  how.overlap = false;
  return how;
}

DeviceMemory rows(std::int64_t count, std::int64_t width, std::size_t element) {
  return DeviceMemory(static_cast<std::size_t>(count * round_up(width, 8)) * element,
                      "a buffer of the prompt");
}

}  // namespace

Prefill::Prefill(const DeviceWeights& weights, const TokenStep& step, std::int64_t most,
                 const cuda::DecodeLaunch& how)
    : weights_(weights), step_(step), how_(in_order(how)), blas_(how.stream) {
  const ModelConfig& config = weights.config();
  qkv_width_ = config.query_width() + 2 * config.kv_width();
  hidden_ = rows(most, config.hidden, sizeof(float));
  qkv_ = rows(most, qkv_width_, sizeof(float));
  context_ = rows(most, config.query_width(), sizeof(float));
  gate_ = rows(most, config.ffn, sizeof(float));
  up_ = rows(most, config.ffn, sizeof(float));
  input_ = rows(most, std::max({config.hidden, config.query_width(), config.ffn}),
                size_of(weights.layout().dtype));
}

cuda::ProductRows Prefill::input(std::int64_t count, std::int64_t width) const {
  const DType dtype = weights_.layout().dtype;
  return {input_.data(), dtype, count, width, padded_stride(width, dtype)};
}

void Prefill::run(const std::int32_t* tokens, std::int64_t count) {
  const std::int64_t hidden = weights_.config().hidden;
  cuda::decode_embed(weights_.matrix(weights_.layout().embedding), tokens, count, hidden_.as<float>(), hidden,
                     nullptr, how_);
  for (std::int64_t layer = 0; layer < weights_.config().layers; ++layer) {
    attend(layer, count);
    ffn(layer, count);
  }
}

void Prefill::attend(std::int64_t layer, std::int64_t count) {
  const ModelConfig& config = weights_.config();
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const cuda::ProductRows x = input(count, config.hidden), context = input(count, config.query_width());
  auto* qkv = qkv_.as<float>();
  cuda::prefill_norm(hidden_.as<float>(), config.hidden, weights_.norm(placed.attention_norm), x, how_);
  blas_.multiply(weights_.matrix(placed.qkv), x, qkv, qkv_width_, false);
  if (placed.qkv_bias >= 0)
    cuda::prefill_bias(weights_.floats(placed.qkv_bias), qkv_width_, qkv, qkv_width_, count, how_);
  const cuda::DecodeAttention call =
      step_.attention(layer, qkv, qkv_width_, context_.as<float>(), config.query_width());
  cuda::decode_store(call, count, how_);
  cuda::prefill_attention(call, count, how_);
  cuda::prefill_norm(context_.as<float>(), config.query_width(), {}, context, how_);
  blas_.multiply(weights_.matrix(placed.output), context, hidden_.as<float>(), config.hidden, true);
}

void Prefill::ffn(std::int64_t layer, std::int64_t count) {
  const ModelConfig& config = weights_.config();
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const cuda::ProductRows x = input(count, config.hidden), product = input(count, config.ffn);
  auto *gate = gate_.as<float>(), *up = up_.as<float>();
  cuda::prefill_norm(hidden_.as<float>(), config.hidden, weights_.norm(placed.ffn_norm), x, how_);
  blas_.multiply(weights_.matrix(placed.gate), x, gate, config.ffn, false);
  blas_.multiply(weights_.matrix(placed.up), x, up, config.ffn, false);
  cuda::prefill_gated(gating_of(config.activation), gate, up, config.ffn, product, step_.counts() + layer,
                      how_);
  if (weights_.layout().neuron_major)
    blas_.multiply_rows(weights_.matrix(placed.down), product, hidden_.as<float>(), config.hidden, true);
  else
    blas_.multiply(weights_.matrix(placed.down), product, hidden_.as<float>(), config.hidden, true);
}

void Prefill::head(std::int64_t begin, std::int64_t count, float* logits) {
  const ModelConfig& config = weights_.config();
  const cuda::ProductRows x = input(count, config.hidden);
  cuda::prefill_norm(hidden_.as<float>() + begin * config.hidden, config.hidden,
                     weights_.norm(weights_.layout().final_norm), x, how_);
  blas_.multiply(weights_.matrix(weights_.layout().head), x, logits, config.vocab, false);
}

}  // namespace lacuna
