// Many tokens through all blocks: matrix products by cuBLAS with every row read once, own kernels between
// them. bf16 weights see activations rounded to bf16 here, while a single token keeps them in fp32. A routed
// FFN computes every expert for every token and drops what is off; its router reads fp32 as for a single
// token.
#pragma once

#include "src/infer/cuda/blas.h"
#include "src/infer/cuda/token_step.h"

namespace lacuna {

class Prefill {
 public:
  // All outlive this. Error(Usage) without cuBLAS.
  Prefill(const DeviceWeights& weights, const TokenStep& step, std::int64_t most,
          const cuda::DecodeLaunch& how);

  // tokens and state->position on the device, position room() reserved.
  void run(const std::int32_t* tokens, std::int64_t count);
  // logits [count][vocab] of tokens [begin, begin + count) of the last run.
  void head(std::int64_t begin, std::int64_t count, float* logits);

 private:
  void attend(std::int64_t layer, std::int64_t count);
  void ffn(std::int64_t layer, std::int64_t count);
  void route(std::int64_t layer, std::int64_t count);
  cuda::ProductRows input(std::int64_t count, std::int64_t width) const;

  const DeviceWeights& weights_;
  const TokenStep& step_;
  cuda::DecodeLaunch how_;
  Blas blas_;
  std::int64_t qkv_width_, hidden_stride_;
  DeviceMemory hidden_, qkv_, context_, input_, gate_, up_;
  std::int64_t routed_at_once_ = 0;
  DeviceMemory route_parts_, route_arrived_, expert_gates_;
};

}  // namespace lacuna
