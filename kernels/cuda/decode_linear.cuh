// Device parts of decode_linear: the rows of a matrix that a warp owns, and what becomes of their products.
#pragma once

#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda::decode {

__device__ inline std::uint64_t best_key(float value, int row) {
  std::uint32_t bits = __float_as_uint(value);
  bits = value != value ? 0xffffffffu : bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
  return static_cast<std::uint64_t>(bits) << 32 | (0xffffffffu - static_cast<std::uint32_t>(row));
}

template <class W>
using LinearStream = RowStream<W, MatrixRows>;

template <class W>
__device__ LinearStream<W> linear_stream(const DecodeMatrix& weight, const Block& block) {
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  return {block.ring + block.warp * kDepth * kLine, count_of(static_cast<int>(weight.rows), first, step),
          lines_of<W>(weight.cols), rows_of<W>(weight, first, step)};
}

// After the wait for x: multiplies the rows of a stream that has started.
template <class W>
__device__ void finish_linear(const DecodeLinear& call, LinearStream<W>& stream, const Block& block) {
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  const auto cols = static_cast<int>(call.weight.cols);
  const float scale = stage<W>(call.x, call.norm, cols, lines_of<W>(cols), block.x, block.sums);
  const float* bias = call.bias;
  float* y = call.y;
  const bool add = call.add, ranks = call.best != nullptr;
  std::uint64_t best = 0;
  stream.run(block.x, [&](int k, float sum) {
    if (block.lane != 0) return;
    const int row = first + k * step;
    float value = sum * scale;
    if (bias != nullptr) value += bias[row];
    if (add) value += __ldcg(y + row);
    y[row] = value;
    if (ranks) best = max(best, best_key(value, row));
  });
  if (best != 0) atomicMax(reinterpret_cast<unsigned long long*>(call.best), best);
}

}  // namespace lacuna::cuda::decode
