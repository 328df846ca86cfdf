// Device parts of decode_attention: one block, one group of query heads, one split of the context.
#pragma once

#include <cfloat>

#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda::decode {

constexpr int kTile = 128;    // keys whose scores are held at a time
constexpr int kInFlight = 4;  // keys or values a lane has under way

__device__ inline void store_element(float* at, float value) {
  *at = value;
}
__device__ inline void store_element(__nv_bfloat16* at, float value) {
  *at = __float2bfloat16_rn(value);
}

// One warp: out[0, head_dim) = rotated (normed) raw head; emit(i, value) takes the results.
template <class Emit>
__device__ void rotate_head(const DecodeAttention& call, const float* raw, const float* norm, int position,
                            int lane, Emit emit) {
  const int half = static_cast<int>(call.head_dim) / 2;
  float scale = 1;
  if (norm != nullptr) {
    float squares = 0;
    for (int i = lane; i < call.head_dim; i += 32) squares = fmaf(__ldcg(raw + i), __ldcg(raw + i), squares);
    scale = 1 / sqrtf(warp_sum(squares) / static_cast<float>(call.head_dim) + call.eps);
  }
  for (int i = lane; i < half; i += 32) {
    float a = __ldcg(raw + i), b = __ldcg(raw + half + i);
    if (norm != nullptr) {
      a *= scale * norm[i];
      b *= scale * norm[half + i];
    }
    const std::int64_t at = static_cast<std::int64_t>(position) * half + i;
    const float c = call.cosine[at], s = call.sine[at];
    emit(i, fmaf(a, c, -b * s));
    emit(half + i, fmaf(b, c, a * s));
  }
}

// One warp: key and value of token `token`, at `position`, into the cache.
template <class W>
__device__ void store_token(const DecodeAttention& call, int kv_head, int token, int position, int lane) {
  const float* row = call.qkv + token * call.qkv_stride;
  const std::int64_t width = call.head_dim, at = (kv_head * call.cache.room + position) * call.cache.stride;
  W* key = static_cast<W*>(call.cache.keys) + at;
  W* value = static_cast<W*>(call.cache.values) + at;
  const float* raw_key = row + (call.heads + kv_head) * width;
  const float* raw_value = row + (call.heads + call.kv_heads + kv_head) * width;
  rotate_head(call, raw_key, call.key_norm, position, lane,
              [&](int i, float x) { store_element(key + i, x); });
  for (int i = lane; i < width; i += 32) store_element(value + i, __ldcg(raw_value + i));
}

// What one block works on: up to G query heads over one key/value head, keys [begin, end) of one query.
struct Task {
  int kv_head, head, heads;  // heads head .. head + heads - 1
  int token, position;
  int begin, end;
  int active;  // splits that have keys
};

// Where a block stands in the grid [splits, groups, tokens].
struct Place {
  int split, splits, group, token;
};
// Blocks of up to G query heads over each key/value head.
template <int G>
__host__ __device__ inline int groups_of(const DecodeAttention& call) {
  return static_cast<int>(call.kv_heads * ((call.heads / call.kv_heads + G - 1) / G));
}

template <int G>
__device__ Task task_of(const DecodeAttention& call, const Place& place) {
  const int group = static_cast<int>(call.heads / call.kv_heads), blocks = (group + G - 1) / G;
  Task out;
  out.kv_head = place.group / blocks;
  const int first = place.group % blocks * G;
  out.head = out.kv_head * group + first;
  out.heads = min(G, group - first);
  out.token = place.token;
  out.position = __ldcg(call.position) + out.token;
  const int keys = out.position + 1, window = static_cast<int>(call.window);
  const int oldest = window > 0 ? max(0, keys - window) : 0, span = keys - oldest;
  const int share = ((span + place.splits - 1) / place.splits + 15) / 16 * 16;
  out.active = (span + share - 1) / share;
  out.begin = oldest + place.split * share;
  out.end = min(keys, out.begin + share);
  return out;
}

// Lanes that share one key: the least power of two whose 16-byte pieces cover it.
template <class W>
__host__ __device__ inline int lanes_for(std::int64_t head_dim) {
  const int pieces = static_cast<int>((head_dim + kPerLane<W> - 1) / kPerLane<W>);
  int lanes = 1;
  while (lanes < pieces) lanes *= 2;
  return lanes;
}

// The state of a block's softmax and weighted sum.
template <class W, int G>
struct Attend {
  static constexpr int kEach = kPerLane<W>;
  const DecodeAttention& call;
  const Task& task;
  float* query;                       // [G][32·kEach], zeros behind head_dim
  float* scores;                      // [G][kTile]
  float* tops;                        // [G]
  int lanes, piece, stripe, stripes;  // of this thread: its 16 bytes of every stripes-th key
  bool holds;                         // there is such a piece
  float sum[G][kEach], top[G], total[G];

  __device__ const char* row(const void* base, int key) const {
    return static_cast<const char*>(base) +
           ((task.kv_head * call.cache.room + key) * call.cache.stride + piece * kEach) *
               static_cast<std::int64_t>(sizeof(W));
  }

  // scores[g][key - tile] for the keys of [tile, tile + count).
  __device__ void score(int tile, int count) {
    for (int base = 0; base < count; base += stripes * kInFlight) {
      uint4 raw[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int key = base + i * stripes + stripe;
        raw[i] = make_uint4(0, 0, 0, 0);
        if (holds && key < count)
          raw[i] = __ldcg(reinterpret_cast<const uint4*>(row(call.cache.keys, tile + key)));
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int key = base + i * stripes + stripe;
        float k[kEach];
        unpack(raw[i], k);
#pragma unroll
        for (int g = 0; g < G; ++g) {
          const float4* q = reinterpret_cast<const float4*>(query + (g * 32 + piece) * kEach);
          float dot = 0;
#pragma unroll
          for (int j = 0; j < kEach / 4; ++j) {
            const float4 part = q[j];
            dot = fmaf(k[4 * j + 3], part.w,
                       fmaf(k[4 * j + 2], part.z, fmaf(k[4 * j + 1], part.y, fmaf(k[4 * j], part.x, dot))));
          }
          for (int step = lanes / 2; step > 0; step /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
          if (piece == 0 && key < count) scores[g * kTile + key] = dot * call.scale;
        }
      }
    }
  }

  // Turns the tile's scores into weights below a common top; one warp a head.
  __device__ void weigh(int count) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    for (int g = warp; g < G; g += kWarps) {
      float most = -FLT_MAX;
      for (int i = lane; i < count; i += 32) most = fmaxf(most, scores[g * kTile + i]);
      for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
      if (lane == 0) tops[g] = most;
    }
  }

  __device__ void accumulate(int tile, int count) {
#pragma unroll
    for (int g = 0; g < G; ++g) {
      const float next = fmaxf(top[g], tops[g]), shrink = expf(top[g] - next);
      top[g] = next;
      total[g] *= shrink;
#pragma unroll
      for (int j = 0; j < kEach; ++j) sum[g][j] *= shrink;
    }
    for (int base = 0; base < count; base += stripes * kInFlight) {
      uint4 raw[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int key = base + i * stripes + stripe;
        raw[i] = make_uint4(0, 0, 0, 0);
        if (holds && key < count)
          raw[i] = __ldcg(reinterpret_cast<const uint4*>(row(call.cache.values, tile + key)));
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const int key = base + i * stripes + stripe;
        if (key >= count) continue;
        float v[kEach];
        unpack(raw[i], v);
#pragma unroll
        for (int g = 0; g < G; ++g) {
          const float weight = expf(scores[g * kTile + key] - top[g]);
          total[g] += weight;
#pragma unroll
          for (int j = 0; j < kEach; ++j) sum[g][j] = fmaf(weight, v[j], sum[g][j]);
        }
      }
    }
  }
};

// Adds the stripes of a warp, then writes them for the block: sums[warp][g][piece·kEach + j],
// totals[warp][g].
template <class W, int G>
__device__ void gather_stripes(Attend<W, G>& state, float* sums, float* totals) {
  constexpr int kEach = kPerLane<W>;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int g = 0; g < G; ++g) {
    for (int step = state.lanes; step < 32; step *= 2) {
      state.total[g] += __shfl_xor_sync(0xffffffffu, state.total[g], step);
#pragma unroll
      for (int j = 0; j < kEach; ++j) state.sum[g][j] += __shfl_xor_sync(0xffffffffu, state.sum[g][j], step);
    }
    if (lane < state.lanes) {
#pragma unroll
      for (int j = 0; j < kEach; ++j)
        sums[((warp * G + g) * state.lanes + state.piece) * kEach + j] = state.sum[g][j];
      if (lane == 0) totals[warp * G + g] = state.total[g];
    }
  }
}

// partial holds, for every query head: [splits][head_dim] sums, then [splits] tops, then [splits] totals.
__device__ inline float* partial_of(const DecodeAttention& call, int head) {
  return call.partial + static_cast<std::int64_t>(head) * call.splits * (call.head_dim + 2);
}

// The block that comes last for its heads puts the splits together, in order. weights: [heads][splits],
// shared.
__device__ inline void join_splits(const DecodeAttention& call, const Task& task, float* weights) {
  const int width = static_cast<int>(call.head_dim), splits = call.splits;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int g = warp; g < task.heads; g += kWarps) {
    const float* tops = partial_of(call, task.head + g) + splits * width;
    const float* totals = tops + splits;
    float top = -FLT_MAX;
    for (int s = lane; s < task.active; s += 32) top = fmaxf(top, __ldcg(tops + s));
    for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, step));
    float total = 0;
    for (int s = lane; s < task.active; s += 32) {
      const float weight = expf(__ldcg(tops + s) - top);
      weights[g * splits + s] = weight;
      total = fmaf(weight, __ldcg(totals + s), total);
    }
    total = warp_sum(total);
    __syncwarp();
    for (int s = lane; s < task.active; s += 32) weights[g * splits + s] /= total;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < task.heads * width; i += kThreads) {
    const float* partial = partial_of(call, task.head + i / width) + i % width;
    const float* weight = weights + i / width * splits;
    float sum = 0;
#pragma unroll 8
    for (int s = 0; s < task.active; ++s) sum = fmaf(weight[s], __ldcg(partial + s * width), sum);
    call.context[task.token * call.context_stride + task.head * width + i] = sum;
  }
}

// Writes the block's result: the context itself when its split is the only one, else a part of it.
template <class W, int G>
__device__ void finish_attention(const DecodeAttention& call, const Task& task, int split, const float* sums,
                                 const float* totals, const float* tops) {
  constexpr int kEach = kPerLane<W>;
  const int width = static_cast<int>(call.head_dim), lanes = lanes_for<W>(width);
  for (int i = static_cast<int>(threadIdx.x); i < task.heads * width; i += kThreads) {
    const int g = i / width, d = i % width;
    float sum = 0, total = 0;
    for (int w = 0; w < kWarps; ++w) {
      sum += sums[(w * G + g) * lanes * kEach + d];
      total += totals[w * G + g];
    }
    if (task.active == 1) {
      call.context[task.token * call.context_stride + task.head * width + i] = sum / total;
      continue;
    }
    float* partial = partial_of(call, task.head + g);
    partial[split * width + d] = sum;
    if (d == 0) {
      partial[call.splits * width + split] = tops[g];
      partial[call.splits * (width + 1) + split] = total;
    }
  }
}

// Shared memory of attend(), in floats.
template <class W, int G>
__host__ __device__ inline int attend_floats(std::int64_t head_dim) {
  constexpr int kEach = kPerLane<W>;
  return G * 32 * kEach + G * kTile + kWarps * G * (lanes_for<W>(head_dim) * kEach + 1) + 2 * G + 1;
}

// The whole block, after the wait for qkv. `shared` is free when the block's threads have met again.
template <class W, int G, bool kStores>
__device__ void attend(const DecodeAttention& call, const Place& place, float* shared) {
  constexpr int kEach = kPerLane<W>;
  const Task task = task_of<G>(call, place);
  if (task.begin >= task.end) return;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int lanes = lanes_for<W>(call.head_dim);
  float* query = shared;
  float* scores = query + G * 32 * kEach;
  float* sums = scores + G * kTile;
  float* totals = sums + kWarps * G * lanes * kEach;
  float* tops = totals + kWarps * G;
  float* best = tops + G;
  auto* last = reinterpret_cast<int*>(best + G);
  Attend<W, G> state{call, task, query, scores, tops};
  state.lanes = lanes;
  state.piece = lane % lanes;
  state.stripes = kThreads / lanes;
  state.stripe = thread / lanes;
  state.holds = state.piece * kEach < call.head_dim;
  for (int i = thread; i < G * 32 * kEach; i += kThreads)
    if (i / (32 * kEach) >= task.heads || i % (32 * kEach) >= call.head_dim) query[i] = 0;
#pragma unroll
  for (int g = 0; g < G; ++g) {
    state.top[g] = -FLT_MAX;
    state.total[g] = 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) state.sum[g][j] = 0;
  }
  for (int g = warp; g < task.heads; g += kWarps)
    rotate_head(call, call.qkv + task.token * call.qkv_stride + (task.head + g) * call.head_dim,
                call.query_norm, task.position, lane, [&](int i, float x) { query[g * 32 * kEach + i] = x; });
  if (kStores && warp == kWarps - 1 && task.end == task.position + 1)
    store_token<W>(call, task.kv_head, task.token, task.position, lane);
  __syncthreads();
  for (int tile = task.begin; tile < task.end; tile += kTile) {
    const int count = min(kTile, task.end - tile);
    state.score(tile, count);
    __syncthreads();
    state.weigh(count);
    __syncthreads();
    state.accumulate(tile, count);
    __syncthreads();
  }
  gather_stripes(state, sums, totals);
  if (thread == 0)
    for (int g = 0; g < G; ++g) best[g] = state.top[g];
  __syncthreads();
  finish_attention<W, G>(call, task, place.split, sums, totals, best);
  if (task.active == 1) return;
  __threadfence();
  __syncthreads();
  if (thread == 0) {
    *last = atomicAdd(call.arrived + place.group, 1u) == static_cast<unsigned>(task.active - 1);
    if (*last) call.arrived[place.group] = 0;
  }
  __syncthreads();
  if (!*last) return;
  __threadfence();
  join_splits(call, task, query);
}

// Brings the keys and values of a place's split into the second cache; touches nothing else.
template <class W, int G>
__device__ void fetch_context(const DecodeAttention& call, const Place& place) {
  const Task task = task_of<G>(call, place);
  const std::int64_t row = call.cache.stride * static_cast<std::int64_t>(sizeof(W));
  const std::int64_t from = (task.kv_head * call.cache.room + task.begin) * row;
  const std::int64_t bytes = max(0, min(task.end, task.begin + 1024) - task.begin) * row;
  for (const void* base : {call.cache.keys, call.cache.values})
    for (std::int64_t at = threadIdx.x * 128; at < bytes; at += kThreads * 128)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(base) + from + at));
}

}  // namespace lacuna::cuda::decode
