#include "src/infer/cuda/token_step.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_rows.h"
#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

DeviceMemory floats(std::int64_t count) {
  return DeviceMemory(static_cast<std::size_t>(round_up(count, 64)) * sizeof(float),
                      "a buffer of a decode step");
}

// Enough blocks for every multiprocessor, split evenly over the key/value heads.
int splits_for(const ModelConfig& config, int blocks) {
  const std::int64_t groups = config.kv_heads * ceil_div(config.heads / config.kv_heads, 4);
  return static_cast<int>(std::clamp<std::int64_t>(blocks / groups, 1, 64));
}

}  // namespace

Gating gating_of(Activation activation) {
  if (activation == Activation::Drelu) return Gating::Drelu;
  return activation == Activation::Relu ? Gating::Relu : Gating::Silu;
}

TokenStep::TokenStep(const DeviceWeights& weights, const DeviceCache& cache, FfnPath path,
                     const cuda::DecodeLaunch& how)
    : weights_(weights), cache_(cache), path_(path), how_(how) {
  const ModelConfig& config = weights.config();
  splits_ = splits_for(config, how.blocks);
  state_ = DeviceMemory(sizeof(StepState), "the state of a decode step");
  best_ = DeviceMemory(sizeof(std::uint64_t), "the state of a decode step");
  hidden_ = floats(config.hidden);
  qkv_ = floats(config.query_width() + 2 * config.kv_width());
  context_ = floats(config.query_width());
  gate_ = floats(config.ffn);
  product_ = floats(config.ffn);
  partial_ = floats(how.blocks * cuda::partial_stride(config.hidden));
  attention_partial_ = floats(cuda::decode_attention_partials(config.heads, config.head_dim, splits_));
  arrived_ = floats(config.heads);
  counts_ = DeviceMemory(static_cast<std::size_t>(config.layers) * sizeof(cuda::DecodeCounts), "statistics");
  logits_ = floats(config.vocab);
  lists_.neurons = config.ffn;
  lists_.segments = how.blocks;
  lists_.capacity = cuda::ActiveLists::capacity_for(config.ffn, how.blocks);
  list_counts_ = floats(how.blocks);
  list_runs_ = floats(2 * std::int64_t{how.blocks} * lists_.capacity);
  lists_.counts = list_counts_.as<std::int32_t>();
  lists_.runs = list_runs_.as<ActiveRun>();
}

void TokenStep::issue(const StepState* state, std::uint64_t* best) const {
  auto* device_state = state_.as<StepState>();
  auto* device_best = best_.as<std::uint64_t>();
  LACUNA_CUDA(cudaMemcpyAsync(device_state, state, sizeof *state, cudaMemcpyHostToDevice, how_.stream));
  cuda::DecodeLaunch first = how_;
  first.overlap = false;  // its predecessor is a copy
  cuda::decode_embed(weights_.matrix(weights_.layout().embedding), &device_state->token, 1, hidden(), 0,
                     device_best, first);
  for (std::int64_t layer = 0; layer < weights_.config().layers; ++layer) block(layer);
  head(hidden(), logits(), device_best);
  LACUNA_CUDA(cudaMemcpyAsync(best, device_best, sizeof *best, cudaMemcpyDeviceToHost, how_.stream));
}

void TokenStep::head(const float* hidden, float* logits, std::uint64_t* best) const {
  cuda::DecodeLinear call;
  call.weight = weights_.matrix(weights_.layout().head);
  call.x = hidden;
  call.norm = weights_.norm(weights_.layout().final_norm);
  call.y = logits;
  call.best = best;
  cuda::decode_linear(call, how_);
}

cuda::DecodeAttention TokenStep::attention(std::int64_t layer, const float* qkv, std::int64_t qkv_stride,
                                           float* context, std::int64_t context_stride) const {
  const ModelConfig& config = weights_.config();
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  cuda::DecodeAttention out;
  out.heads = config.heads;
  out.kv_heads = config.kv_heads;
  out.head_dim = config.head_dim;
  out.qkv = qkv;
  out.qkv_stride = qkv_stride;
  out.query_norm = weights_.floats(placed.query_norm);
  out.key_norm = weights_.floats(placed.key_norm);
  out.eps = static_cast<float>(config.norm_eps);
  out.cosine = cache_.cosine();
  out.sine = cache_.sine();
  out.position = position();
  out.cache = cache_.layer(layer);
  out.window = config.sliding_window;
  out.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.head_dim)));
  out.splits = splits_;
  out.partial = attention_partial_.as<float>();
  out.arrived = arrived_.as<unsigned>();
  out.context = context;
  out.context_stride = context_stride;
  return out;
}

void TokenStep::block(std::int64_t layer) const {
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  cuda::DecodeLinear project;
  project.weight = weights_.matrix(placed.qkv);
  project.x = hidden();
  project.norm = weights_.norm(placed.attention_norm);
  project.bias = weights_.floats(placed.qkv_bias);
  project.y = qkv_.as<float>();
  cuda::decode_linear(project, how_);
  cuda::decode_attention(attention(layer, qkv_.as<float>(), 0, context_.as<float>(), 0), how_);
  cuda::DecodeLinear output;
  output.weight = weights_.matrix(placed.output);
  output.x = context_.as<float>();
  output.y = hidden();
  output.add = true;
  cuda::decode_linear(output, how_);
  ffn(layer);
}

void TokenStep::ffn(std::int64_t layer) const {
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const Gating gating = gating_of(weights_.config().activation);
  const cuda::DecodeNorm norm = weights_.norm(placed.ffn_norm);
  const cuda::DecodeMatrix gate = weights_.matrix(placed.gate), up = weights_.matrix(placed.up),
                           down = weights_.matrix(placed.down);
  if (!weights_.layout().neuron_major) {
    cuda::decode_gate_up({gate, up, hidden(), norm, gating, product_.as<float>(), counts() + layer}, how_);
    cuda::DecodeLinear project;
    project.weight = down;
    project.x = product_.as<float>();
    project.y = hidden();
    project.add = true;
    return cuda::decode_linear(project, how_);
  }
  const bool dense = path_ == FfnPath::Dense;
  cuda::decode_gate_first({gate, hidden(), norm, gate_.as<float>(), lists_, dense}, how_);
  cuda::decode_active_ffn({up, down, hidden(), norm, gate_.as<float>(), lists_, gating, dense,
                           partial_.as<float>(), counts() + layer},
                          how_);
  cuda::decode_add_partials(partial_.as<float>(), lists_.segments, weights_.config().hidden, hidden(), how_);
}

}  // namespace lacuna
