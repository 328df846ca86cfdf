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
  hidden_stride_ = round_up(config.hidden, 4);
  hidden_ = rows(most, config.hidden, sizeof(float));
  qkv_ = rows(most, qkv_width_, sizeof(float));
  context_ = rows(most, config.query_width(), sizeof(float));
  gate_ = rows(most, config.ffn, sizeof(float));
  up_ = rows(most, config.ffn, sizeof(float));
  input_ = rows(most, std::max({config.hidden, config.query_width(), config.ffn}),
                size_of(weights.layout().dtype));
  if (!config.is_routed()) return;
  constexpr std::int64_t kScratch = std::int64_t{1} << 24;  // floats
  const std::int64_t parts = std::max<std::int64_t>(1, route_parts(weights.layout()));
  routed_at_once_ = std::clamp<std::int64_t>(kScratch / parts, 1, most);
  route_parts_ = rows(routed_at_once_, parts, sizeof(float));
  route_arrived_ = rows(1, routed_at_once_, sizeof(unsigned));
  expert_gates_ = rows(most, config.routed.experts, sizeof(float));
}

cuda::ProductRows Prefill::input(std::int64_t count, std::int64_t width) const {
  const DType dtype = weights_.layout().dtype;
  return {input_.data(), dtype, count, width, padded_stride(width, dtype)};
}

void Prefill::run(const std::int32_t* tokens, std::int64_t count) {
  cuda::decode_embed(weights_.matrix(weights_.layout().embedding), tokens, count, hidden_.as<float>(),
                     hidden_stride_, nullptr, how_);
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
  cuda::prefill_norm(hidden_.as<float>(), hidden_stride_, weights_.norm(placed.attention_norm), x, how_);
  blas_.multiply(weights_.matrix(placed.qkv), x, qkv, qkv_width_, false);
  if (placed.qkv_bias >= 0)
    cuda::prefill_bias(weights_.floats(placed.qkv_bias), qkv_width_, qkv, qkv_width_, count, how_);
  const cuda::DecodeAttention call =
      step_.attention(layer, qkv, qkv_width_, context_.as<float>(), config.query_width());
  cuda::decode_store(call, count, how_);
  cuda::prefill_attention(call, count, how_);
  cuda::prefill_norm(context_.as<float>(), config.query_width(), {}, context, how_);
  blas_.multiply(weights_.matrix(placed.output), context, hidden_.as<float>(), hidden_stride_, true);
}

void Prefill::ffn(std::int64_t layer, std::int64_t count) {
  const ModelConfig& config = weights_.config();
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const cuda::ProductRows x = input(count, config.hidden), product = input(count, config.ffn);
  auto *gate = gate_.as<float>(), *up = up_.as<float>();
  cuda::ExpertGates experts;
  if (config.is_routed()) {
    route(layer, count);
    experts = {static_cast<int>(config.routed.experts), weights_.integers(placed.router.begin),
               expert_gates_.as<float>()};
  }
  cuda::prefill_norm(hidden_.as<float>(), hidden_stride_, weights_.norm(placed.ffn_norm), x, how_);
  blas_.multiply(weights_.matrix(placed.gate), x, gate, config.ffn, false);
  blas_.multiply(weights_.matrix(placed.up), x, up, config.ffn, false);
  cuda::prefill_gated(gating_of(config.activation), gate, up, config.ffn, experts, product,
                      step_.counts() + layer, how_);
  if (weights_.layout().neuron_major)
    blas_.multiply_rows(weights_.matrix(placed.down), product, hidden_.as<float>(), hidden_stride_, true);
  else
    blas_.multiply(weights_.matrix(placed.down), product, hidden_.as<float>(), hidden_stride_, true);
  if (config.is_routed())
    cuda::prefill_stand_ins(step_.stand_ins(layer, expert_gates_.as<float>()), config.hidden,
                            hidden_.as<float>(), hidden_stride_, count, how_);
}

// Gates of the experts for all tokens, from the hidden state before the FFN.
void Prefill::route(std::int64_t layer, std::int64_t count) {
  cuda::DecodeRoute call = step_.route(layer);
  call.x_stride = hidden_stride_;
  call.parts = route_parts_.as<float>();
  call.arrived = route_arrived_.as<unsigned>();
  call.lists = {};
  for (std::int64_t t = 0; t < count; t += routed_at_once_) {
    call.x = hidden_.as<float>() + t * hidden_stride_;
    call.gates = expert_gates_.as<float>() + t * call.experts;
    call.first_token = t;
    cuda::decode_route(call, std::min(routed_at_once_, count - t), how_);
  }
}

void Prefill::head(std::int64_t begin, std::int64_t count, float* logits) {
  const ModelConfig& config = weights_.config();
  const cuda::ProductRows x = input(count, config.hidden);
  cuda::prefill_norm(hidden_.as<float>() + begin * hidden_stride_, hidden_stride_,
                     weights_.norm(weights_.layout().final_norm), x, how_);
  blas_.multiply(weights_.matrix(weights_.layout().head), x, logits, config.vocab, false);
}

}  // namespace lacuna
