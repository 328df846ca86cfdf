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

std::int64_t route_parts(const DecodeLayout& layout) {
  std::int64_t rows = 0;
  for (const PlacedLayer& layer : layout.layers) rows = std::max(rows, layer.router.rows.rows);
  return 4 * rows;
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
  make_lists();
}

void TokenStep::make_lists() {
  const ModelConfig& config = weights_.config();
  const std::int64_t experts = config.routed.experts;
  lists_.neurons = config.ffn;
  lists_.segments = how_.blocks;
  lists_.capacity = config.is_routed()
                        ? cuda::ActiveLists::capacity_for_parts(config.ffn, how_.blocks, experts + 1)
                        : cuda::ActiveLists::capacity_for(config.ffn, how_.blocks);
  list_counts_ = floats(how_.blocks);
  list_runs_ = floats(2 * std::int64_t{how_.blocks} * lists_.capacity);
  lists_.counts = list_counts_.as<std::int32_t>();
  lists_.runs = list_runs_.as<ActiveRun>();
  if (!config.is_routed()) return;
  list_factors_ = floats(std::int64_t{how_.blocks} * lists_.capacity);
  lists_.factors = list_factors_.as<float>();
  route_parts_ = floats(route_parts(weights_.layout()));
  route_arrived_ = floats(1);
  expert_gates_ = floats(experts);
}

void TokenStep::place() {
  layers_.clear();
  for (std::int64_t layer = 0; layer < weights_.config().layers; ++layer)
    layers_.push_back(layer_calls(layer));
}

void TokenStep::issue(const StepState* state, std::uint64_t* best) const {
  LACUNA_CUDA(cudaMemcpyAsync(state_.data(), state, sizeof *state, cudaMemcpyHostToDevice, how_.stream));
  auto* best_row = best_.as<std::uint64_t>();
  cuda::DecodeLaunch first = how_;
  first.overlap = false;  // its predecessor is a copy
  cuda::decode_embed(weights_.matrix(weights_.layout().embedding), &state_.as<StepState>()->token, 1,
                     hidden(), 0, best_row, first);
  for (const LayerCalls& layer : layers_) {
    cuda::decode_linear(layer.qkv, how_);
    cuda::decode_attention(layer.attention, how_);
    cuda::decode_linear(layer.output, how_);
    issue_ffn(layer);
  }
  head(hidden(), logits(), best_row);
  LACUNA_CUDA(cudaMemcpyAsync(best, best_row, sizeof *best, cudaMemcpyDeviceToHost, how_.stream));
}

void TokenStep::issue_ffn(const LayerCalls& layer) const {
  if (!weights_.layout().neuron_major) {
    cuda::decode_gate_up(layer.gate_up, how_);
    cuda::decode_linear(layer.down, how_);
    return;
  }
  if (weights_.config().is_routed())
    cuda::decode_route(layer.route, 1, how_);
  else
    cuda::decode_gate_first(layer.gate_first, how_);
  cuda::decode_active_ffn(layer.active, how_);
  cuda::decode_add_partials(partial_.as<float>(), lists_.segments, weights_.config().hidden, hidden(),
                            layer.others, how_);
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

namespace {

cuda::RouteBy route_by(RouterKind kind) {
  switch (kind) {
    case RouterKind::Linear:
      return cuda::RouteBy::Linear;
    case RouterKind::LowRank:
      return cuda::RouteBy::LowRank;
    case RouterKind::Neuron:
      return cuda::RouteBy::Neuron;
    case RouterKind::Random:
      return cuda::RouteBy::Random;
    default:
      return cuda::RouteBy::None;  // decode_layout() has refused the oracle
  }
}

}  // namespace

cuda::DecodeRoute TokenStep::route(std::int64_t layer) const {
  const ModelConfig& config = weights_.config();
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  cuda::DecodeRoute out;
  out.by = route_by(config.routed.router);
  out.experts = static_cast<int>(config.routed.experts);
  out.rank = static_cast<int>(config.routed.rank);
  if (placed.router.rows.rows > 0) out.rows = weights_.matrix(placed.router.rows);
  out.x = hidden();
  out.norm = weights_.norm(placed.ffn_norm);
  out.gating = gating_of(config.activation);
  out.bias = weights_.floats(placed.router.bias);
  out.scale = weights_.floats(placed.router.scale);
  out.threshold = config.routed.threshold;
  out.active = static_cast<int>(routed_layer(config.routed, config.ffn, layer).active);
  out.key = random_router_key(config.routed.seed, layer);
  out.position = position();
  out.begin = weights_.integers(placed.router.begin);
  out.parts = route_parts_.as<float>();
  out.arrived = route_arrived_.as<unsigned>();
  out.gates = expert_gates_.as<float>();
  out.lists = lists_;
  out.whole = path_ == FfnPath::Dense;
  return out;
}

cuda::StandIns TokenStep::stand_ins(std::int64_t layer, const float* gates) const {
  const PlacedRouter& placed = weights_.layout().layers[static_cast<std::size_t>(layer)].router;
  return {static_cast<const float*>(weights_.matrix(placed.mean).data), placed.mean.stride,
          static_cast<int>(placed.mean.rows), gates};
}

TokenStep::LayerCalls TokenStep::layer_calls(std::int64_t layer) const {
  const PlacedLayer& placed = weights_.layout().layers[static_cast<std::size_t>(layer)];
  const Gating gating = gating_of(weights_.config().activation);
  const cuda::DecodeNorm norm = weights_.norm(placed.ffn_norm);
  const cuda::DecodeMatrix gate = weights_.matrix(placed.gate), up = weights_.matrix(placed.up),
                           down = weights_.matrix(placed.down);
  const bool dense = path_ == FfnPath::Dense;
  LayerCalls out;
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
    if (weights_.config().is_routed()) {
      out.route = route(layer);
      out.others = stand_ins(layer, expert_gates_.as<float>());
    } else {
      out.gate_first = {gate, hidden(), norm, gate_.as<float>(), lists_, dense};
    }
    out.active = {up,
                  down,
                  hidden(),
                  norm,
                  gate_.as<float>(),
                  lists_,
                  gating,
                  dense,
                  partial_.as<float>(),
                  counts() + layer,
                  weights_.config().is_routed() ? gate : cuda::DecodeMatrix{}};
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
