// Device parts of decode_route: the rows of the router that a warp owns, and the choice that one block makes.
#pragma once

#include "kernels/cuda/decode_active_ffn.cuh"
#include "kernels/cuda/decode_route.h"
#include "src/base/rng.h"

namespace lacuna::cuda::decode {

// Quarters of the rows of a matrix, dealt to warps.
struct PartRows {
  MatrixRows rows;
  int lines, first, step;
  __device__ Row operator()(int k) const {
    const int unit = first + k * step, line = unit % kParts * lines;
    const Row whole = rows(unit / kParts);
    return {whole.data + line * kLine, max(0, whole.bytes - line * kLine), line};
  }
};
using RouteStream = RowStream<float, PartRows>;

// What a router multiplies with: whole quarters of lines.
__host__ __device__ inline int route_lines(std::int64_t hidden) {
  return kParts * part_lines(lines_of<float>(hidden));
}

__device__ inline RouteStream route_stream(const DecodeRoute& call, const Block& block) {
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  const int lines = part_lines(lines_of<float>(call.rows.cols));
  return {block.ring + block.warp * kDepth * kLine,
          count_of(static_cast<int>(call.rows.rows) * kParts, first, step),
          lines,
          {rows_of<float>(call.rows, 0, 1), lines, first, step}};
}

// After the wait for x: this block's parts of the scores of `token`.
__device__ inline void finish_route(const DecodeRoute& call, RouteStream& stream, int token,
                                    const Block& block) {
  if (call.rows.rows == 0) return;
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  const float scale =
      stage<float>(call.x + token * call.x_stride, call.norm, static_cast<int>(call.rows.cols),
                   route_lines(call.rows.cols), block.x, block.sums);
  float* parts = call.parts + token * call.rows.rows * kParts;
  stream.run(block.x, [&](int k, float sum) {
    if (block.lane == 0) parts[first + k * step] = sum * scale;
  });
}

// What choose() works in, in shared memory: an entry for each expert. Behind the keys lies what does not
// change while they are compared: the compiler reads ahead.
struct RouteShared {
  double* keys;
  int* begin;    // one more
  float* gates;  // scores first
  int* place;    // neurons of the experts before it that are on, or off, as it is; shared ones are on
  int* totals;   // neurons on, off
};
__device__ inline RouteShared split_route(void* at, int experts) {
  auto* keys = static_cast<double*>(at);
  auto* begin = reinterpret_cast<int*>(keys + experts);
  auto* gates = reinterpret_cast<float*>(begin + experts + 1);
  auto* place = reinterpret_cast<int*>(gates + experts);
  return {keys, begin, gates, place, place + experts};
}
__host__ __device__ constexpr int route_bytes(int experts) {
  return experts * 20 + 12;
}

__device__ inline float route_part(const float* parts, std::int64_t row) {
  const float4 v = __ldcg(reinterpret_cast<const float4*>(parts) + row);
  return (v.x + v.y) + (v.z + v.w);
}

// One warp: the score of an expert, in all lanes.
__device__ inline float route_score(const DecodeRoute& call, const float* parts, int expert, int lane) {
  const bool weighted = call.by == RouteBy::Linear || call.by == RouteBy::LowRank;
  const float score = weighted ? route_part(parts, expert) : 0;
  if (call.by == RouteBy::Linear) return score;
  const std::int64_t a = (weighted ? call.experts : 0) + static_cast<std::int64_t>(expert) * call.rank;
  const std::int64_t b = a + static_cast<std::int64_t>(call.experts) * call.rank;
  float sum_a = 0, sum_b = 0;
  for (int k = lane; k < call.rank; k += 32) {
    const float in_a = route_part(parts, a + k), in_b = route_part(parts, b + k);
    if (call.by == RouteBy::Neuron) {
      sum_a += fabsf(gated(call.gating, in_a, in_b));
    } else {
      sum_a = fmaf(in_a, in_a, sum_a);
      sum_b = fmaf(in_b, in_b, sum_b);
    }
  }
  sum_a = warp_sum(sum_a);
  if (call.by == RouteBy::Neuron) return sum_a;
  return score + sqrtf(sum_a) * sqrtf(warp_sum(sum_b));
}

// The whole block: scores of a token into s.gates, what decides into s.keys.
__device__ inline void score_experts(const DecodeRoute& call, int token, const RouteShared& s) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  for (int e = thread; e <= call.experts; e += kThreads) s.begin[e] = __ldg(call.begin + e);
  if (call.by == RouteBy::Random) {
    const auto position = static_cast<std::uint64_t>(__ldcg(call.position) + call.first_token + token);
    for (int e = thread; e < call.experts; e += kThreads)  // random_score() of src/arch/routed_ffn.h
      s.keys[e] = static_cast<double>(rng_bits(call.key, position * 4096 + static_cast<unsigned>(e)) >> 11);
  } else if (call.by != RouteBy::None) {
    const float* parts = call.parts + token * call.rows.rows * kParts;
    for (int e = warp; e < call.experts; e += kWarps) {
      const float score = route_score(call, parts, e, lane);
      if (lane != 0) continue;
      s.gates[e] = score;
      s.keys[e] = call.bias != nullptr ? score + __ldg(call.bias + e) : score;
    }
  }
  __syncthreads();
}

// Larger keys come first, the lower index among equal ones; not a number comes before all.
__device__ inline bool comes_before(const double* keys, int a, int b) {
  const double x = keys[a], y = keys[b];
  if (isnan(y)) return isnan(x) && a < b;
  return isnan(x) || x > y || (x == y && a < b);
}

__device__ inline bool is_on(const DecodeRoute& call, const double* keys, int expert) {
  if (call.by == RouteBy::None) return false;
  if (call.threshold) return keys[expert] > 0;
  int ahead = 0;
  for (int other = 0; other < call.experts; ++other) ahead += comes_before(keys, other, expert);
  return ahead < call.active;
}

// The whole block: s.gates from scores to gates, and those of the token in memory.
__device__ inline void gate_experts(const DecodeRoute& call, int token, const RouteShared& s) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  float largest = -INFINITY, sum = 0;
  if (call.scale != nullptr) {  // every warp for itself
    for (int e = lane; e < call.experts; e += 32) largest = fmaxf(largest, s.gates[e]);
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    for (int e = lane; e < call.experts; e += 32) sum += expf(s.gates[e] - largest);
    sum = warp_sum(sum);
    __syncthreads();
  }
  for (int e = thread; e < call.experts; e += kThreads) {
    float gate = is_on(call, s.keys, e) ? 1 : 0;
    if (gate != 0 && call.scale != nullptr)
      gate = 1 + expf(s.gates[e] - largest) / sum * __ldg(call.scale + e);
    s.gates[e] = gate;
    call.gates[static_cast<std::int64_t>(token) * call.experts + e] = gate;
  }
  __syncthreads();
}

// The whole block: s.place and s.totals, by the first warp.
__device__ inline void place_experts(const DecodeRoute& call, const RouteShared& s) {
  if (threadIdx.x < 32) {
    const int lane = static_cast<int>(threadIdx.x);
    int on = s.begin[0], off = 0;
    for (int base = 0; base < call.experts; base += 32) {
      const int e = base + lane;
      const int size = e < call.experts ? s.begin[e + 1] - s.begin[e] : 0;
      const bool counts = e < call.experts && s.gates[e] != 0;
      const int on_end = on + sum_up_to(counts ? size : 0, lane),
                off_end = off + sum_up_to(counts ? 0 : size, lane);
      if (e < call.experts) s.place[e] = (counts ? on_end : off_end) - size;
      on = __shfl_sync(0xffffffffu, on_end, 31);
      off = __shfl_sync(0xffffffffu, off_end, 31);
    }
    if (lane == 0) {
      s.totals[0] = on;
      s.totals[1] = off;
    }
  }
  __syncthreads();
}

// One thread: the runs of segment `segment`.
__device__ inline void write_share(const DecodeRoute& call, const RouteShared& s, int segment) {
  const ActiveLists& lists = call.lists;
  const std::int64_t first = static_cast<std::int64_t>(segment) * lists.capacity;
  int runs = 0, from = 0, to = 0;  // places that are this segment's
  const auto take = [&](int begin, int end, int place, float factor) {
    const int low = max(from, place), high = min(to, place + end - begin);
    if (low >= high) return;
    lists.runs[first + runs] = {begin + low - place, high - low};
    lists.factors[first + runs++] = factor;
  };
  for (int off = 0; off <= (call.whole ? 1 : 0); ++off) {
    from = static_cast<int>(segment_begin(s.totals[off], lists.segments, segment));
    to = static_cast<int>(segment_begin(s.totals[off], lists.segments, segment + 1));
    if (off == 0) take(0, s.begin[0], 0, 1);
    for (int e = 0; e < call.experts; ++e)
      if ((s.gates[e] == 0) == (off == 1)) take(s.begin[e], s.begin[e + 1], s.place[e], s.gates[e]);
  }
  lists.counts[segment] = runs;
}

// The whole block, once all parts of `token` are visible: its gates, and the runs of all segments. `scratch`:
// route_bytes(experts), aligned to 8.
__device__ inline void choose(const DecodeRoute& call, int token, void* scratch) {
  const RouteShared s = split_route(scratch, call.experts);
  score_experts(call, token, s);
  gate_experts(call, token, s);
  if (call.lists.runs == nullptr) return;
  place_experts(call, s);
  for (int segment = static_cast<int>(threadIdx.x); segment < call.lists.segments; segment += kThreads)
    write_share(call, s, segment);
}

}  // namespace lacuna::cuda::decode
