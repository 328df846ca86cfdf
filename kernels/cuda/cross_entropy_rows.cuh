// What the kernels of the loss share: running statistics of a row, and its gradient from them.
#pragma once

#include <cfloat>
#include <cstdint>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

// Exponentials relative to a maximum: scaled(top) is what term subtracts. Logits of eight bits take the fast
// instruction, in powers of two; the rounding of scaled(top) is in every term alike.
template <class T>
struct SoftExp {
  using A = Accumulate<T>;
  static __device__ A scaled(A top) {
    if constexpr (sizeof(T) == 2)
      return __fmul_rn(top, kLog2E);  // rounded: fused into a difference, it would differ from itself
    else
      return top;
  }
  static __device__ A term(A logit, A shift) {
    if constexpr (sizeof(T) == 2)
      return fast_exp2(fmaf(logit, kLog2E, -shift));
    else
      return exponential(logit - shift);
  }
  // From sums that refer to one maximum to another.
  static __device__ A shrink(A from, A to) {
    if constexpr (sizeof(T) == 2)
      return fast_exp2(scaled(from) - scaled(to));
    else
      return exponential(from - to);
  }
};

// Where a running maximum starts: finite, also in powers of two.
template <class A>
__device__ constexpr A lowest() {
  return sizeof(A) == 8 ? static_cast<A>(-DBL_MAX) : static_cast<A>(-2.3e38f);
}

// A chunk, typed; see LossChunk.
template <class T>
struct LossArgs {
  T* logits;
  const std::int32_t* targets;
  std::int64_t rows, cols, first, valid;
  Accumulate<T> scale;

  __device__ bool scored(std::int64_t row) const { return targets[row] >= 0; }
  // This rank's column of the row's target, or -1.
  __device__ std::int64_t target_column(std::int64_t row) const {
    const std::int64_t column = targets[row] - first;
    return targets[row] >= 0 && column >= 0 && column < valid ? column : -1;
  }
};

// Running maximum and sum of exp(logit - maximum). The maximum starts at the lowest finite number, so that
// columns of minus infinity add nothing; NaN goes into the sum.
template <class T>
struct RowSums {
  using A = Accumulate<T>;
  A top = lowest<A>(), sum = 0;

  // Columns start .. start + V - 1, those from `valid` on left out.
  template <int V>
  __device__ void add(A (&v)[V], std::int64_t start, std::int64_t valid) {
    if (start + V > valid) {
#pragma unroll
      for (int i = 0; i < V; ++i)
        if (start + i >= valid) v[i] = -INFINITY;
    }
    A largest = v[0];
#pragma unroll
    for (int i = 1; i < V; ++i) largest = Larger{}(largest, v[i]);
    if (largest > top) {
      sum *= SoftExp<T>::shrink(top, largest);
      top = largest;
    }
    const A shift = SoftExp<T>::scaled(top);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += SoftExp<T>::term(v[i], shift);
  }

  // Over the block, for every thread. `shared` has 32 entries and is free again after the next barrier.
  __device__ void reduce(RowSums* shared) {
    over_lanes();
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (lane == 0) shared[threadIdx.x / 32] = *this;
    __syncthreads();
    *this = lane < static_cast<int>(blockDim.x) / 32 ? shared[lane] : RowSums{};
    over_lanes();
  }

 private:
  __device__ void over_lanes() {
    const A all = lanes_reduce(top, Larger{});
    sum = lanes_reduce(sum * SoftExp<T>::shrink(top, all), Add{});
    top = all;
  }
};

// The gradient of V columns from `start` on: exp(logit - top)·factor, minus scale at the target, zero in
// padding.
template <class T, int V>
__device__ inline void softmax_grad(const LossArgs<T>& args, Accumulate<T> (&v)[V], std::int64_t start,
                                    std::int64_t target, Accumulate<T> shift, Accumulate<T> factor) {
#pragma unroll
  for (int i = 0; i < V; ++i) v[i] = SoftExp<T>::term(v[i], shift) * factor;
  if (target >= start && target < start + V) {
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (start + i == target) v[i] -= args.scale;
  }
  if (start + V > args.valid) {
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (start + i >= args.valid) v[i] = 0;
  }
}

// In workspace: double [rows].
void add_row_losses(const double* row_losses, std::int64_t rows, double* loss, Stream stream);

// cross_entropy_fused.cu: rows of whole packs, read once.
template <class T>
void cross_entropy_fused(const LossArgs<T>& args, double* row_losses, Stream stream);

}  // namespace lacuna::cuda
