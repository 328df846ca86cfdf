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

TokenStep::TokenStep(const DeviceWeights& weights, const DeviceCache& cache, FfnPath path, StepForm form,
                     const cuda::DecodeLaunch& how)
    : weights_(weights), cache_(cache), path_(path), form_(form), how_(how) {
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

void TokenStep::place() {
  layers_.clear();
  for (std::int64_t layer = 0; layer < weights_.config().layers; ++layer)
    layers_.push_back(layer_calls(layer));
  const std::size_t bytes = layers_.size() * sizeof layers_[0];
  if (device_layers_.bytes() < bytes) device_layers_ = DeviceMemory(bytes, "the calls of a decode step");
  LACUNA_CUDA(cudaMemcpy(device_layers_.data(), layers_.data(), bytes, cudaMemcpyHostToDevice));
  int device = 0, limit = 0, cooperative = 0;
  LACUNA_CUDA(cudaGetDevice(&device));
  LACUNA_CUDA(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  LACUNA_CUDA(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, device));
  if (cooperative == 0 ||
      !cuda::decode_token_fits(token_call(), layers_[0], how_.blocks, static_cast<std::size_t>(limit)))
    form_ = StepForm::Kernels;
}

void TokenStep::issue(const StepState* state, std::uint64_t* best) const {
  LACUNA_CUDA(cudaMemcpyAsync(state_.data(), state, sizeof *state, cudaMemcpyHostToDevice, how_.stream));
  if (form_ == StepForm::OneKernel)
    cuda::decode_token(token_call(), layers_[0], how_);
  else
    issue_kernels();
  LACUNA_CUDA(cudaMemcpyAsync(best, best_.data(), sizeof *best, cudaMemcpyDeviceToHost, how_.stream));
}

cuda::DecodeToken TokenStep::token_call() const {
  auto* state = state_.as<StepState>();
  cuda::DecodeToken out;
  out.layers = device_layers_.as<cuda::DecodeLayer>();
  out.count = static_cast<int>(layers_.size());
  out.neuron_major = weights_.layout().neuron_major;
  out.embedding = weights_.matrix(weights_.layout().embedding);
  out.token = &state->token;
  out.hidden = hidden();
  out.head = head_call(hidden(), logits(), best_.as<std::uint64_t>());
  out.met = &state->met;
  return out;
}

void TokenStep::issue_kernels() const {
  auto* best = best_.as<std::uint64_t>();
  cuda::DecodeLaunch first = how_;
  first.overlap = false;  // its predecessor is a copy
  cuda::decode_embed(weights_.matrix(weights_.layout().embedding), &state_.as<StepState>()->token, 1,
                     hidden(), 0, best, first);
  for (const cuda::DecodeLayer& layer : layers_) {
    cuda::decode_linear(layer.qkv, how_);
    cuda::decode_attention(layer.attention, how_);
    cuda::decode_linear(layer.output, how_);
    if (weights_.layout().neuron_major) {
      cuda::decode_gate_first(layer.gate_first, how_);
      cuda::decode_active_ffn(layer.active, how_);
      cuda::decode_add_partials(partial_.as<float>(), lists_.segments, weights_.config().hidden, hidden(),
                                how_);
    } else {
      cuda::decode_gate_up(layer.gate_up, how_);
      cuda::decode_linear(layer.down, how_);
    }
  }
  head(hidden(), logits(), best);
}

void TokenStep::head(const float* hidden, float* logits, std::uint64_t* best) const {
  cuda::decode_linear(head_call(hidden, logits, best), how_);
}

cuda::DecodeLinear TokenStep::head_call(const float* hidden, float* logits, std::uint64_t* best) const {
  cuda::DecodeLinear out;
  out.weight = weights_.matrix(weights_.layout().head);
  out.x = hidden;
  out.norm = weights_.norm(weights_.layout().final_norm);
  out.y = logits;
  out.best = best;
  return out;
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

cuda::DecodeLayer TokenStep::layer_calls(std::int64_t layer) const {
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const Gating gating = gating_of(weights_.config().activation);
  const cuda::DecodeNorm norm = weights_.norm(placed.ffn_norm);
  const cuda::DecodeMatrix gate = weights_.matrix(placed.gate), up = weights_.matrix(placed.up),
                           down = weights_.matrix(placed.down);
  const bool dense = path_ == FfnPath::Dense;
  cuda::DecodeLayer out;
  out.qkv.weight = weights_.matrix(placed.qkv);
  out.qkv.x = hidden();
  out.qkv.norm = weights_.norm(placed.attention_norm);
  out.qkv.bias = weights_.floats(placed.qkv_bias);
  out.qkv.y = qkv_.as<float>();
  out.attention = attention(layer, qkv_.as<float>(), 0, context_.as<float>(), 0);
  out.output.weight = weights_.matrix(placed.output);
  out.output.x = context_.as<float>();
  out.output.y = hidden();
  out.output.add = true;
  if (weights_.layout().neuron_major) {
    out.gate_first = {gate, hidden(), norm, gate_.as<float>(), lists_, dense};
    out.active = {up,
                  down,
                  hidden(),
                  norm,
                  gate_.as<float>(),
                  lists_,
                  gating,
                  dense,
                  partial_.as<float>(),
                  counts() + layer};
  } else {
    out.gate_up = {gate, up, hidden(), norm, gating, product_.as<float>(), counts() + layer};
    out.down.weight = down;
    out.down.x = product_.as<float>();
    out.down.y = hidden();
    out.down.add = true;
  }
  return out;
}

}  // namespace lacuna
