// One token through all blocks, as a CUDA graph records it: a kernel for each phase of a block. Token and
// position are read from device memory, so the recording serves every step.
#pragma once

#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_ffn.h"
#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_route.h"
#include "src/infer/backend.h"
#include "src/infer/cuda/device_cache.h"
#include "src/infer/cuda/device_weights.h"

namespace lacuna {

// What a step starts from; written by the host.
struct StepState {
  std::int32_t token = 0, position = 0;
};

class TokenStep {
 public:
  // All outlive this.
  TokenStep(const DeviceWeights& weights, const DeviceCache& cache, FfnPath path,
            const cuda::DecodeLaunch& how);

  // Takes over where the cache lies now; before issue(), and not while it is recorded.
  void place();
  // Issues copies and kernels of one token; *state and *best are pinned.
  void issue(const StepState* state, std::uint64_t* best) const;

  float* hidden() const { return hidden_.as<float>(); }  // [hidden] after the last block
  float* logits() const { return logits_.as<float>(); }  // [vocab]
  cuda::DecodeCounts* counts() const { return counts_.as<cuda::DecodeCounts>(); }  // [layers]
  // logits = head·norm(hidden), of any hidden state.
  void head(const float* hidden, float* logits, std::uint64_t* best) const;
  // What attention of layer `layer` works with, for tokens whose projections are at qkv.
  cuda::DecodeAttention attention(std::int64_t layer, const float* qkv, std::int64_t qkv_stride,
                                  float* context, std::int64_t context_stride) const;
  // What the router of layer `layer` works with; x, gates, parts and lists are those of one token.
  cuda::DecodeRoute route(std::int64_t layer) const;
  cuda::StandIns stand_ins(std::int64_t layer, const float* gates) const;
  const std::int32_t* position() const { return &state_.as<StepState>()->position; }

 private:
  // What the kernels of a block are called with. `gate_up` and `down` for a row-major down; else `active`
  // after `gate_first`, or after `route` where the model has experts.
  struct LayerCalls {
    cuda::DecodeLinear qkv;
    cuda::DecodeAttention attention;
    cuda::DecodeLinear output;
    cuda::DecodeGateUp gate_up;
    cuda::DecodeLinear down;
    cuda::DecodeGateFirst gate_first;
    cuda::DecodeRoute route;
    cuda::DecodeActiveFfn active;
    cuda::StandIns others;
  };
  void make_lists();
  LayerCalls layer_calls(std::int64_t layer) const;
  cuda::DecodeLinear head_call(const float* hidden, float* logits, std::uint64_t* best) const;
  void issue_ffn(const LayerCalls& layer) const;

  const DeviceWeights& weights_;
  const DeviceCache& cache_;
  FfnPath path_;
  cuda::DecodeLaunch how_;
  int splits_ = 1;
  cuda::ActiveLists lists_;
  DeviceMemory state_, best_, hidden_, qkv_, context_, gate_, product_, partial_, attention_partial_,
      arrived_, counts_, logits_, list_counts_, list_runs_, list_factors_, route_parts_, route_arrived_,
      expert_gates_;
  std::vector<LayerCalls> layers_;
};

Gating gating_of(Activation activation);
// Floats of DecodeRoute::parts that one token takes.
std::int64_t route_parts(const DecodeLayout& layout);

}  // namespace lacuna
