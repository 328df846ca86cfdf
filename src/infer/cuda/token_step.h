// One token through all blocks, as the sequence of decode kernels that a CUDA graph records. Token and
// position are read from device memory, so the recording serves every step.
#pragma once

#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_ffn.h"
#include "src/infer/backend.h"
#include "src/infer/cuda/device_cache.h"
#include "src/infer/cuda/device_weights.h"

namespace lacuna {

// What a step starts from; written by the host.
struct StepState {
  std::int32_t token, position;
};

class TokenStep {
 public:
  // All outlive this.
  TokenStep(const DeviceWeights& weights, const DeviceCache& cache, FfnPath path,
            const cuda::DecodeLaunch& how);

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
  const std::int32_t* position() const { return &state_.as<StepState>()->position; }

 private:
  void block(std::int64_t layer) const;
  void ffn(std::int64_t layer) const;

  const DeviceWeights& weights_;
  const DeviceCache& cache_;
  FfnPath path_;
  cuda::DecodeLaunch how_;
  int splits_ = 1;
  cuda::ActiveLists lists_;
  DeviceMemory state_, best_, hidden_, qkv_, context_, gate_, product_, partial_, attention_partial_,
      arrived_, counts_, logits_, list_counts_, list_runs_;
};

Gating gating_of(Activation activation);

}  // namespace lacuna
