// Element-wise work on rows of activations: the embedding, and what stands between the matrix products of a
// step with many tokens. Rows are fp32; `to_weights` rows have the dtype of the weights, for the products.
#pragma once

#include "kernels/cuda/decode_ffn.h"

namespace lacuna::cuda {

// hidden[t] = embedding row of tokens[t] (device). Sets *best to 0 when it is not null.
void decode_embed(const DecodeMatrix& embedding, const std::int32_t* tokens, std::int64_t count,
                  float* hidden, std::int64_t hidden_stride, std::uint64_t* best, const DecodeLaunch& how);

// Rows of activations as matrix products want them: [count][stride], dtype F32 or BF16.
struct ProductRows {
  void* data = nullptr;
  DType dtype = DType::F32;
  std::int64_t count = 0, width = 0, stride = 0;
};

// y[t] = RMSNorm(x[t]), rounded; a null norm weight: x rounded. x rows are padded to 4 floats.
void prefill_norm(const float* x, std::int64_t x_stride, DecodeNorm norm, const ProductRows& y,
                  const DecodeLaunch& how);
// rows[t] += bias, width floats.
void prefill_bias(const float* bias, std::int64_t width, float* rows, std::int64_t stride, std::int64_t count,
                  const DecodeLaunch& how);
// The gates of the experts of a routed FFN for many tokens; experts 0: the FFN is dense.
struct ExpertGates {
  int experts = 0;
  const std::int32_t* begin = nullptr;  // [experts + 1], as in DecodeRoute
  const float* gates = nullptr;         // [tokens][experts]
};
// product[t] = act(gate[t])·up[t], times the gate of the neuron's expert, an exact zero where that is 0;
// counts exact zeros before rounding, and every row of up and down as read.
void prefill_gated(Gating gating, const float* gate, const float* up, std::int64_t stride,
                   const ExpertGates& experts, const ProductRows& product, DecodeCounts* counts,
                   const DecodeLaunch& how);
// rows[t] += the stand-ins of token t; others.gates [tokens][experts].
void prefill_stand_ins(const StandIns& others, std::int64_t width, float* rows, std::int64_t stride,
                       std::int64_t count, const DecodeLaunch& how);

// Bytes per second of a plain read of `bytes` (a multiple of 16) is bytes over the time of this kernel.
void read_stream(const void* data, std::size_t bytes, float* sink, const DecodeLaunch& how);

}  // namespace lacuna::cuda
