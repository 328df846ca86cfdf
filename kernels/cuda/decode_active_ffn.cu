// Up and down rows of listed neurons, one segment a block, and the sum over segments.
#include "kernels/cuda/decode_ffn.cuh"
#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

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
  float* product;
  float* parts;  // [size][kParts]; marks of read_runs before that
  int* total;
};

__device__ ActiveShared split_shared(float* at, int size) {
  return {reinterpret_cast<int*>(at), at + size, at + 2 * size,
          reinterpret_cast<int*>(at + (2 + kParts) * size)};
}

// One warp: how many entries have a product that is not zero; moves them to the front if asked to.
__device__ int drop_zeros(const ActiveShared& active, int entries, int lane, bool move) {
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
__device__ void project_down(const DecodeActiveFfn& call, const ActiveShared& active, int count, int begin,
                             int segment, float* scratch) {
  constexpr int kEach = kPerLane<W>;
  const int chunks = (static_cast<int>(call.down.cols) + kEach - 1) / kEach;
  const int groups = max(1, kThreads / chunks), thread = static_cast<int>(threadIdx.x);
  const std::size_t stride = static_cast<std::size_t>(call.down.stride) * sizeof(W);
  const char* rows = static_cast<const char*>(call.down.data) + static_cast<std::size_t>(begin) * stride;
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

template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_active_ffn_kernel(const DecodeActiveFfn call) {
  extern __shared__ float4 shared[];
  const int all_lines = lines_of<W>(call.up.cols), lines = part_lines(all_lines);
  const int bytes = static_cast<int>(call.up.cols * sizeof(W) + 15) & ~15;
  char* ring = reinterpret_cast<char*>(shared + kParts * lines * kLineFloats<W> / 4);
  auto* sums = reinterpret_cast<float*>(ring + kWarps * kRing);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int segment = static_cast<int>(blockIdx.x);
  const auto begin = static_cast<int>(segment_begin(call.lists.neurons, call.lists.segments, segment));
  const int size =
      static_cast<int>(segment_begin(call.lists.neurons, call.lists.segments, segment + 1)) - begin;
  const ActiveShared active = split_shared(sums + kWarps, size);
  let_next_start();
  wait_for_previous();
  const int open = read_runs(call.lists, segment, begin, size, reinterpret_cast<int*>(active.parts),
                             active.list, active.total);
  const int units = open * kParts, mine = warp < units ? (units - warp + kWarps - 1) / kWarps : 0;
  const std::size_t stride = static_cast<std::size_t>(call.up.stride) * sizeof(W);
  const char* up = static_cast<const char*>(call.up.data) + static_cast<std::size_t>(begin) * stride;
  const auto address = [&](int k) {
    const int unit = warp + k * kWarps, first = unit % kParts * lines;
    return Row{up + static_cast<std::size_t>(active.list[unit / kParts]) * stride + first * kLine,
               max(0, bytes - first * kLine), first};
  };
  RowStream<W, decltype(address)> stream(ring + warp * kRing, mine, lines, address);
  stream.start();
  const float scale =
      stage<W>(call.x, call.norm, static_cast<int>(call.up.cols), kParts * lines, shared, sums);
  stream.run(shared, [&](int k, float sum) {
    if (lane == 0) active.parts[warp + k * kWarps] = sum;
  });
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < open; e += kThreads) {
    const float* parts = active.parts + e * kParts;
    const float value = ((parts[0] + parts[1]) + (parts[2] + parts[3])) * scale;
    active.product[e] = gated(call.gating, __ldcg(call.gate + begin + active.list[e]), value);
  }
  __syncthreads();
  if (warp == 0) {
    const int left = drop_zeros(active, open, lane, !call.keep_zeros);
    if (lane == 0) {
      *active.total = call.keep_zeros ? open : left;
      count(call.counts, static_cast<unsigned long long>(open),
            static_cast<unsigned long long>(*active.total), static_cast<unsigned long long>(size - left));
    }
  }
  __syncthreads();
  project_down<W>(call, active, *active.total, begin, segment, reinterpret_cast<float*>(ring));
}

// Eight times four columns a block, 32 groups of segments.
__global__ void __launch_bounds__(256)
    decode_add_partials_kernel(const float* partial, int segments, int width, int stride, float* hidden) {
  __shared__ float4 sums[256];
  let_next_start();
  wait_for_previous();
  const int thread = static_cast<int>(threadIdx.x), group = thread / 8;
  const int column = (static_cast<int>(blockIdx.x) * 8 + thread % 8) * 4;
  const auto add = [](float4& to, const float4& v) {
    to.x += v.x;
    to.y += v.y;
    to.z += v.z;
    to.w += v.w;
  };
  float4 sum = make_float4(0, 0, 0, 0);
  for (int s = group; s < segments; s += 32)
    add(sum,
        __ldcg(reinterpret_cast<const float4*>(partial + static_cast<std::int64_t>(s) * stride + column)));
  sums[thread] = sum;
  __syncthreads();
  if (thread >= 8 || column >= width) return;
  for (int g = 1; g < 32; ++g) add(sum, sums[g * 8 + thread]);
  const float values[4] = {sum.x, sum.y, sum.z, sum.w};
  for (int i = 0; i < 4; ++i)
    if (column + i < width) hidden[column + i] = __ldcg(hidden + column + i) + values[i];
}

}  // namespace

void decode_active_ffn(const DecodeActiveFfn& call, const DecodeLaunch& how) {
  LACUNA_ASSERT(call.lists.segments == how.blocks && call.lists.neurons == call.up.rows);
  LACUNA_ASSERT(call.up.rows == call.down.rows && call.up.cols == call.down.cols &&
                call.up.dtype == call.down.dtype);
  const auto widest = static_cast<std::size_t>(call.lists.neurons / call.lists.segments + 1);
  with_element(call.up.dtype, [&](auto element) {
    using W = decltype(element);
    const std::size_t x =
        static_cast<std::size_t>(kParts * part_lines(lines_of<W>(call.up.cols))) * kLineFloats<W> * 4;
    const std::size_t shared = x + kWarps * kRing + kWarps * 4 + ((2 + kParts) * widest + 1) * 4;
    launch(decode_active_ffn_kernel<W>, "decode_active_ffn", dim3(static_cast<unsigned>(how.blocks)),
           kThreads, shared, how, call);
  });
}

void decode_add_partials(const float* partial, int segments, std::int64_t width, float* hidden,
                         const DecodeLaunch& how) {
  const auto stride = static_cast<int>(partial_stride(width));
  launch(decode_add_partials_kernel, "decode_add_partials", dim3(static_cast<unsigned>(stride / 32)), 256, 0,
         how, partial, segments, static_cast<int>(width), stride, hidden);
}

}  // namespace lacuna::cuda
