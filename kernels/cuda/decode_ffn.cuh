// Device parts of the decode FFN: the gated product, and lists of active runs written and read by one block.
#pragma once

#include "kernels/cuda/decode_ffn.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda::decode {

__device__ inline float relu(float x) {
  return x <= 0 ? 0.0f : x;  // NaN passes
}

__device__ inline float gated(Gating gating, float gate, float up) {
  if (gating == Gating::Silu) return gate / (1 + expf(-gate)) * up;
  return relu(gate) * (gating == Gating::Drelu ? relu(up) : up);
}

__device__ inline void count(DecodeCounts* counts, unsigned long long up_rows, unsigned long long down_rows,
                             unsigned long long zeros) {
  atomicAdd(&counts->up_rows, up_rows);
  atomicAdd(&counts->down_rows, down_rows);
  atomicAdd(&counts->zeros, zeros);
}

// The sum of `value` over lanes 0 to `lane` of the warp.
__device__ inline int sum_up_to(int value, int lane) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int below = __shfl_up_sync(0xffffffffu, value, step);
    if (lane >= step) value += below;
  }
  return value;
}

// The first warp writes the runs of neurons i < size with open[i] > 0 (or NaN) as segment `segment`. A run's
// start and its end are the same number in the two ascending sequences of starts and ends.
__device__ inline void write_runs(const float* open, int size, int begin, bool whole, int segment,
                                  const ActiveLists& lists) {
  if (threadIdx.x >= 32) return;
  const int lane = static_cast<int>(threadIdx.x);
  ActiveRun* runs = lists.runs + static_cast<std::int64_t>(segment) * lists.capacity;
  if (whole) {
    if (lane == 0) {
      runs[0] = {begin, size};
      lists.counts[segment] = size > 0 ? 1 : 0;
    }
    return;
  }
  const auto active = [&](int i) { return i >= 0 && i < size && !(open[i] <= 0); };
  int starts = 0, ends = 0;  // so far
  for (int base = 0; base < size; base += 32) {
    const int i = base + lane;
    const bool here = active(i), start = here && !active(i - 1), end = here && !active(i + 1);
    const unsigned below = (1u << lane) - 1, start_mask = __ballot_sync(0xffffffffu, start),
                   end_mask = __ballot_sync(0xffffffffu, end);
    if (start) runs[starts + __popc(start_mask & below)].start = begin + i;
    __syncwarp();
    if (end) {
      ActiveRun& run = runs[ends + __popc(end_mask & below)];
      run.length = begin + i + 1 - run.start;
    }
    starts += __popc(start_mask);
    ends += __popc(end_mask);
  }
  if (lane == 0) lists.counts[segment] = starts;
}

// The whole block: the neurons of a segment's runs one behind the other in out[], and what their products are
// multiplied with in factors[]. Returns their number.
__device__ inline int read_runs(const ActiveLists& lists, int segment, int* out, float* factors) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t first = static_cast<std::int64_t>(segment) * lists.capacity;
  const int runs = __ldcg(lists.counts + segment);
  int found = 0;
  for (int base = 0; base < runs; base += 32) {  // every warp adds up all lengths and writes every 16th run
    const bool mine = base + lane < runs;
    const int2 run =
        mine ? __ldcg(reinterpret_cast<const int2*>(lists.runs + first) + base + lane) : make_int2(0, 0);
    const float factor = mine && lists.factors != nullptr ? __ldcg(lists.factors + first + base + lane) : 1;
    const int end = found + sum_up_to(run.y, lane);
    for (int r = warp; r < min(32, runs - base); r += kWarps) {
      const int start = __shfl_sync(0xffffffffu, run.x, r), length = __shfl_sync(0xffffffffu, run.y, r);
      const int at = __shfl_sync(0xffffffffu, end, r) - length;
      const float by = __shfl_sync(0xffffffffu, factor, r);
      for (int i = lane; i < length; i += 32) {
        out[at + i] = start + i;
        factors[at + i] = by;
      }
    }
    found = __shfl_sync(0xffffffffu, end, 31);
  }
  __syncthreads();
  return found;
}

}  // namespace lacuna::cuda::decode
