// Device parts of decode_active_ffn: one block reads the up and down rows of one segment's list.
#pragma once

#include "kernels/cuda/decode_gate.cuh"

namespace lacuna::cuda::decode {

constexpr int kParts = 4;  // a row is shared out to warps in quarters: few rows still fill 16 warps
constexpr int kBatch = 8;  // down rows under way a thread

__device__ inline uint4 load_once(const void* at) {
  uint4 out;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(at));
  return out;
}

__host__ __device__ inline int part_lines(int lines) {
  return (lines + kParts - 1) / kParts;
}

struct ActiveShared {  // arrays of `size` entries (a segment's neurons), in shared memory
  int* list;
  float *product, *factor;
  float* parts;  // [size][kParts] of up, or [size][2][kParts] of gate and up
  int* total;
};

__device__ inline ActiveShared split_shared(float* at, int size) {
  return {reinterpret_cast<int*>(at) + 1, at + 1 + size, at + 1 + 2 * size, at + 1 + 3 * size,
          reinterpret_cast<int*>(at)};
}
// Floats that split_shared needs.
__host__ __device__ inline int active_floats(const DecodeActiveFfn& call) {
  return 1 + (3 + (call.gate_rows.data != nullptr ? 2 : 1) * kParts) * call.lists.widest();
}

// One warp: how many entries have a product that is not zero; moves them to the front if asked to.
__device__ inline int drop_zeros(const ActiveShared& active, int entries, int lane, bool move) {
  int left = 0;
  for (int base = 0; base < entries; base += 32) {
    const int e = base + lane;
    const int neuron = e < entries ? active.list[e] : 0;
    const float product = e < entries ? active.product[e] : 0;
    const unsigned mask =
        __ballot_sync(0xffffffffu, product != 0);  // everybody has read before anybody writes
    __syncwarp();
    if (move && product != 0) {
      const int at = left + __popc(mask & ((1u << lane) - 1));
      active.list[at] = neuron;
      active.product[at] = product;
    }
    left += __popc(mask);
    __syncwarp();
  }
  return left;
}

// Adds product[e]·(row of list[e]) for the entries e of group `group`, ascending: 16 bytes of columns a
// thread.
template <class W>
__device__ void add_rows(const char* column, std::size_t stride, const ActiveShared& active, int count,
                         int groups, int group, float (&sum)[kPerLane<W>]) {
  for (int base = 0; base < count; base += kBatch) {
    uint4 raw[kBatch];
    bool mine[kBatch];
#pragma unroll
    for (int e = 0; e < kBatch; ++e) {
      mine[e] = base + e < count && (groups == 1 || active.list[base + e] % groups == group);
      if (mine[e]) raw[e] = load_once(column + static_cast<std::size_t>(active.list[base + e]) * stride);
    }
#pragma unroll
    for (int e = 0; e < kBatch; ++e) {
      if (!mine[e]) continue;
      float w[kPerLane<W>];
      unpack(raw[e], w);
      const float p = active.product[base + e];
#pragma unroll
      for (int i = 0; i < kPerLane<W>; ++i) sum[i] = fmaf(p, w[i], sum[i]);
    }
  }
}

// partial = sum over the listed neurons. Where the width needs fewer threads than a block has, neurons are
// dealt to groups of threads by their number, and the groups are added in order.
template <class W>
__device__ void project_down(const DecodeActiveFfn& call, const ActiveShared& active, int count, int segment,
                             float* scratch) {
  constexpr int kEach = kPerLane<W>;
  const int chunks = (static_cast<int>(call.down.cols) + kEach - 1) / kEach;
  const int groups = max(1, kThreads / chunks), thread = static_cast<int>(threadIdx.x);
  const std::size_t stride = static_cast<std::size_t>(call.down.stride) * sizeof(W);
  const char* rows = static_cast<const char*>(call.down.data);
  float* out = call.partial + static_cast<std::int64_t>(segment) * partial_stride(call.down.cols);
  const auto store = [&](int chunk, const float* sum) {
    for (int i = 0; i < kEach; ++i)
      if (chunk * kEach + i < call.down.cols) out[chunk * kEach + i] = sum[i];
  };
  if (groups == 1) {
    for (int chunk = thread; chunk < chunks; chunk += kThreads) {
      float sum[kEach] = {};
      add_rows<W>(rows + chunk * 16, stride, active, count, 1, 0, sum);
#pragma unroll
      for (int i = 0; i < kEach; i += 4)
        *reinterpret_cast<float4*>(out + chunk * kEach + i) =
            make_float4(sum[i], sum[i + 1], sum[i + 2], sum[i + 3]);
    }
    return;
  }
  const int group = thread / chunks, chunk = thread % chunks;
  if (group < groups) {
    float sum[kEach] = {};
    add_rows<W>(rows + chunk * 16, stride, active, count, groups, group, sum);
    for (int i = 0; i < kEach; ++i) scratch[(group * chunks + chunk) * kEach + i] = sum[i];
  }
  __syncthreads();
  if (thread >= chunks) return;
  float sum[kEach] = {};
  for (int g = 0; g < groups; ++g)
    for (int i = 0; i < kEach; ++i) sum[i] += scratch[(g * chunks + thread) * kEach + i];
  store(thread, sum);
}

// The listed rows of up, or of gate and up in turn, as quarters.
struct ListedRows {
  MatrixRows gate, up;
  const int* list;
  bool both;
  int lines, warp;
  __device__ Row operator()(int k) const {
    const int unit = warp + k * kWarps, row = unit / kParts, first = unit % kParts * lines;
    const Row whole = both ? (row % 2 == 0 ? gate : up)(list[row / 2]) : up(list[row]);
    return {whole.data + first * kLine, max(0, whole.bytes - first * kLine), first};
  }
};

__device__ inline float sum_of_parts(const float* parts) {
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// From the parts of the rows of x to products of the `open` listed neurons.
__device__ inline void multiply_gates(const DecodeActiveFfn& call, const ActiveShared& active, int open,
                                      float scale) {
  const bool both = call.gate_rows.data != nullptr;
  for (int e = static_cast<int>(threadIdx.x); e < open; e += kThreads) {
    const float* parts = active.parts + e * (both ? 2 * kParts : kParts);
    const float gate = both ? sum_of_parts(parts) * scale : __ldcg(call.gate + active.list[e]);
    const float up = sum_of_parts(both ? parts + kParts : parts) * scale, factor = active.factor[e];
    active.product[e] = factor == 0 ? 0 : gated(call.gating, gate, up) * factor;
  }
}

// Reads the segment's list and writes partial[segment]. prepare() runs once the rows are on their way and
// returns the scale of x, which lies in block.x with kParts·part_lines(...) lines then.
template <class W, class Prepare>
__device__ void active_ffn(const DecodeActiveFfn& call, const ActiveShared& active, const Block& block,
                           Prepare prepare) {
  const int lines = part_lines(lines_of<W>(call.up.cols));
  const bool both = call.gate_rows.data != nullptr;
  const int open = read_runs(call.lists, block.index, active.list, active.factor);
  const ListedRows rows{
      rows_of<W>(call.gate_rows, 0, 1), rows_of<W>(call.up, 0, 1), active.list, both, lines, block.warp};
  RowStream<W, ListedRows> stream(block.ring + block.warp * kDepth * kLine,
                                  count_of(open * kParts * (both ? 2 : 1), block.warp, kWarps), lines, rows);
  stream.start();
  const float scale = prepare();
  stream.run(block.x, [&](int k, float sum) {
    if (block.lane == 0) active.parts[block.warp + k * kWarps] = sum;
  });
  __syncthreads();
  multiply_gates(call, active, open, scale);
  __syncthreads();
  if (block.warp == 0) {
    const int left = drop_zeros(active, open, block.lane, !call.keep_zeros);
    if (block.lane == 0) {
      *active.total = call.keep_zeros ? open : left;
      // A router's share may exceed the segment that it is counted against by a neuron: sums wrap, and are
      // right over all segments.
      count(call.counts, static_cast<unsigned long long>(open),
            static_cast<unsigned long long>(*active.total),
            static_cast<unsigned long long>(segment_of(call.lists, block.index).size) -
                static_cast<unsigned long long>(left));
    }
  }
  __syncthreads();
  project_down<W>(call, active, *active.total, block.index, reinterpret_cast<float*>(block.ring));
}

// hidden[32·columns, ...) += the sum over segments, and over experts that are off: a thread takes four
// columns of every 64th segment and expert, a warp adds its four threads of a column, the first warp the
// sixteen warps. sums: [kWarps·8], shared.
__device__ inline void add_partials(const float* partial, int segments, int width, int stride,
                                    const StandIns& others, float* hidden, int columns, float4* sums) {
  const int thread = static_cast<int>(threadIdx.x), column = (columns * 8 + thread % 8) * 4;
  float part[4] = {};
  const auto add = [&](const float4& v) {
    part[0] += v.x;
    part[1] += v.y;
    part[2] += v.z;
    part[3] += v.w;
  };
#pragma unroll 4
  for (int s = thread / 8; s < segments; s += kThreads / 8)
    add(__ldcg(reinterpret_cast<const float4*>(partial + static_cast<std::int64_t>(s) * stride + column)));
  for (int e = thread / 8; e < others.experts; e += kThreads / 8)
    if (column < width && __ldcg(others.gates + e) == 0)
      add(__ldg(reinterpret_cast<const float4*>(others.mean + e * others.stride + column)));
#pragma unroll
  for (int step = 8; step < 32; step *= 2)
#pragma unroll
    for (int i = 0; i < 4; ++i) part[i] += __shfl_xor_sync(0xffffffffu, part[i], step);
  if (thread % 32 < 8) sums[thread / 32 * 8 + thread % 8] = make_float4(part[0], part[1], part[2], part[3]);
  __syncthreads();
  if (thread < 8) {
    for (int w = 1; w < kWarps; ++w) add(sums[w * 8 + thread]);
    for (int i = 0; i < 4; ++i)
      if (column + i < width) hidden[column + i] = __ldcg(hidden + column + i) + part[i];
  }
}

}  // namespace lacuna::cuda::decode
