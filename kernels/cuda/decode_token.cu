#include "kernels/cuda/decode_token.h"

#include <algorithm>

#include "kernels/cuda/decode_active_ffn.cuh"
#include "kernels/cuda/decode_attention.cuh"
#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_linear.cuh"
#include "kernels/cuda/decode_route.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

constexpr int kTokenDepth = 16;  // 128 KB under way: 5 microseconds of a multiprocessor's share of the stream

// All blocks of the launch. What any thread wrote before meet() is visible to all after it, past the first
// cache.
class Meeting {
 public:
  __device__ Meeting(unsigned* met, int blocks) : met_(met), blocks_(static_cast<unsigned>(blocks)) {}
  __device__ void meet() {
    target_ += blocks_;
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(met_) : "memory");
      unsigned seen = 0;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(met_) : "memory");
      } while (seen < target_);
      __threadfence();
    }
    __syncthreads();
  }

 private:
  unsigned* met_;
  unsigned blocks_, target_ = 0;
};

// Sizes of a block's shared memory, in floats.
struct TokenShared {
  int x, entries;  // activations or attention; per neuron of a segment
};

template <class W, int G>
__host__ __device__ TokenShared token_shared(const DecodeLayer& layer, bool neuron_major,
                                             std::int64_t head_cols) {
  const auto floats = [](std::int64_t cols) { return lines_of<W>(cols) * kLineFloats<W>; };
  const auto larger = [](int a, int b) { return a > b ? a : b; };
  TokenShared out{larger(floats(layer.qkv.weight.cols), floats(layer.output.weight.cols)), 0};
  out.x = larger(out.x, floats(head_cols));
  out.x = larger(out.x, (attend_floats<W, G>(layer.attention.head_dim) + 3) / 4 * 4);
  if (neuron_major) {
    out.x = larger(out.x, kParts * part_lines(lines_of<W>(layer.active.up.cols)) * kLineFloats<W>);
    out.x = larger(out.x, route_lines(layer.route.rows.cols) * kLineFloats<float>);
    out.entries = active_floats(layer.active) + layer.active.lists.widest();
  } else {
    out.x = larger(out.x, floats(layer.down.weight.cols));
  }
  return out;
}

// The first rows of a stream of the next but one phase, into the second cache.
__device__ void fetch_rows(const MatrixRows& rows, int count, int lane) {
  for (int k = 0; k < min(count, 2); ++k)
    for (int at = lane * 128; at < rows.bytes; at += 32 * 128)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(rows(k).data + at));
}

// Copies `bytes` (a multiple of 4) from device to shared memory, the whole block.
__device__ void copy_in(const void* from, void* to, int bytes) {
  for (int i = static_cast<int>(threadIdx.x) * 4; i < bytes; i += kThreads * 4)
    *reinterpret_cast<int*>(static_cast<char*>(to) + i) =
        __ldg(reinterpret_cast<const int*>(static_cast<const char*>(from) + i));
}

template <class W>
__device__ void embed(const DecodeToken& call, const Block& block) {
  const DecodeMatrix& table = call.embedding;
  const W* row = static_cast<const W*>(table.data) + __ldcg(call.token) * table.stride;
  for (int i = block.index * kThreads + block.thread; i < table.cols; i += block.count * kThreads)
    call.hidden[i] = static_cast<float>(row[i]);
  if (block.index == 0 && block.thread == 0 && call.head.best != nullptr) *call.head.best = 0;
}

// The FFN of one layer. Leaves `next` (the qkv rows of the next layer, or the head's) under way.
template <class W>
__device__ void row_major_ffn(const DecodeLayer& layer, const DecodeMatrix& next,
                              LinearStream<W, kTokenDepth>& stream, Meeting& all, const Block& block) {
  auto gate_up = gate_up_stream<W, kTokenDepth>(layer.gate_up, block);
  gate_up.start();
  all.meet();
  finish_gate_up<W, kTokenDepth>(layer.gate_up, gate_up, block);
  stream = linear_stream<W, kTokenDepth>(layer.down.weight, block);
  stream.start();
  all.meet();
  finish_linear<W, kTokenDepth>(layer.down, stream, block);
  stream = linear_stream<W, kTokenDepth>(next, block);
  stream.start();
  all.meet();
}

// From this block's list to the sum over all. prepare() as for active_ffn().
template <class W, class Prepare>
__device__ void listed_ffn(const DecodeLayer& layer, const DecodeMatrix& next,
                           LinearStream<W, kTokenDepth>& stream, Meeting& all, const Block& block,
                           Prepare prepare) {
  const DecodeActiveFfn& active = layer.active;
  const int first = block.index * kWarps + block.warp, step = block.count * kWarps;
  fetch_rows(rows_of<W>(next, first, step), count_of(static_cast<int>(next.rows), first, step), block.lane);
  __syncthreads();
  active_ffn<W, kTokenDepth>(active, split_shared(block.sums + kWarps, active.lists.widest()), block,
                             prepare);
  __syncthreads();  // the ring was scratch
  stream = linear_stream<W, kTokenDepth>(next, block);
  stream.start();
  all.meet();
  const auto width = static_cast<int>(active.down.cols), stride = static_cast<int>(partial_stride(width));
  for (int columns = block.index; columns < stride / 32; columns += block.count) {
    add_partials(active.partial, active.lists.segments, width, stride, layer.others, layer.output.y, columns,
                 block.x);
    __syncthreads();
  }
  all.meet();
}

template <class W>
__device__ void neuron_major_ffn(const DecodeLayer& layer, const DecodeMatrix& next,
                                 LinearStream<W, kTokenDepth>& stream, Meeting& all, const Block& block) {
  const int lines = kParts * part_lines(lines_of<W>(layer.active.up.cols));
  float* open = block.sums + kWarps + active_floats(layer.active);
  stream = gate_stream<W, kTokenDepth>(layer.gate_first, block);
  stream.start();
  all.meet();
  const float scale = finish_gate<W, kTokenDepth>(layer.gate_first, stream, lines, open, block);
  listed_ffn<W>(layer, next, stream, all, block, [=] { return scale; });
}

// Every block makes the whole choice for itself and lists its own segment.
template <class W>
__device__ void routed_ffn(const DecodeLayer& layer, const DecodeMatrix& next,
                           LinearStream<W, kTokenDepth>& stream, Meeting& all, const Block& block) {
  const DecodeRoute& route = layer.route;
  const DecodeActiveFfn& active = layer.active;
  RouteStream<kTokenDepth> scores = route_stream<kTokenDepth>(route, block);
  scores.start();
  all.meet();
  finish_route<kTokenDepth>(route, scores, 0, block);
  all.meet();
  choose(route, 0, block.index, block.index + 1, block.index == 0, block.ring);
  listed_ffn<W>(layer, next, stream, all, block, [&] {
    const auto width = static_cast<int>(active.up.cols);
    return stage<W>(active.x, active.norm, width, kParts * part_lines(lines_of<W>(width)), block.x,
                    block.sums);
  });
}

template <class W, int G>
__global__ void __launch_bounds__(kThreads, 1) decode_token_kernel(const DecodeToken call) {
  extern __shared__ float4 shared[];
  __shared__ alignas(16) char held[2][sizeof(DecodeLayer)];
  const auto layer_at = [&](int i) -> const DecodeLayer& {
    return *reinterpret_cast<const DecodeLayer*>(held[i & 1]);
  };
  copy_in(call.layers, held[0], sizeof(DecodeLayer));
  __syncthreads();
  const TokenShared sizes = token_shared<W, G>(layer_at(0), call.neuron_major, call.head.weight.cols);
  const Block block = block_at(shared, sizes.x, kTokenDepth);
  Meeting all(call.met, block.count);
  auto stream = linear_stream<W, kTokenDepth>(layer_at(0).qkv.weight, block);
  stream.start();
  embed<W>(call, block);
  all.meet();
  for (int i = 0; i < call.count; ++i) {
    const DecodeLayer& layer = layer_at(i);
    if (i + 1 < call.count) copy_in(call.layers + i + 1, held[(i + 1) & 1], sizeof(DecodeLayer));
    const int tasks = groups_of<G>(layer.attention) * layer.attention.splits;
    const auto place = [&](int task) {
      return Place{task % layer.attention.splits, layer.attention.splits, task / layer.attention.splits, 0};
    };
    if (block.index < tasks) fetch_context<W, G>(layer.attention, place(block.index));
    finish_linear<W, kTokenDepth>(layer.qkv, stream, block);
    stream = linear_stream<W, kTokenDepth>(layer.output.weight, block);
    stream.start();
    all.meet();
    for (int task = block.index; task < tasks; task += block.count) {
      attend<W, G, true>(layer.attention, place(task), reinterpret_cast<float*>(block.x));
      __syncthreads();
    }
    all.meet();
    finish_linear<W, kTokenDepth>(layer.output, stream, block);
    const DecodeMatrix next = i + 1 < call.count ? layer_at(i + 1).qkv.weight : call.head.weight;
    if (call.routed)
      routed_ffn<W>(layer, next, stream, all, block);
    else if (call.neuron_major)
      neuron_major_ffn<W>(layer, next, stream, all, block);
    else
      row_major_ffn<W>(layer, next, stream, all, block);
  }
  finish_linear<W, kTokenDepth>(call.head, stream, block);
}

// Calls body(W{}, group) for the instantiation that serves the model.
template <class Body>
auto with_kernel(const DecodeLayer& layer, Body body) {
  const std::int64_t group = layer.attention.heads / layer.attention.kv_heads;
  const auto by_group = [&](auto element) {
    if (group == 1) return body(element, std::integral_constant<int, 1>{});
    if (group == 2) return body(element, std::integral_constant<int, 2>{});
    return body(element, std::integral_constant<int, 4>{});
  };
  return layer.qkv.weight.dtype == DType::BF16 ? by_group(__nv_bfloat16{}) : by_group(float{});
}

std::size_t shared_bytes(const DecodeToken& call, const DecodeLayer& first) {
  return with_kernel(first, [&](auto element, auto group) {
    const TokenShared sizes = token_shared<decltype(element), decltype(group)::value>(
        first, call.neuron_major, call.head.weight.cols);
    return static_cast<std::size_t>(sizes.x + sizes.entries + kWarps) * 4 + kWarps * kTokenDepth * kLine;
  });
}

}  // namespace

bool decode_token_fits(const DecodeToken& call, const DecodeLayer& first, std::size_t limit) {
  return shared_bytes(call, first) + 2 * sizeof(DecodeLayer) <= limit;
}

void decode_token(const DecodeToken& call, const DecodeLayer& first, const DecodeLaunch& how) {
  static_assert(sizeof(DecodeLayer) % 4 == 0);
  LACUNA_ASSERT(!call.routed || route_bytes(first.route.experts) <= kWarps * kTokenDepth * kLine);
  const std::size_t shared = shared_bytes(call, first);
  DecodeLaunch together = how;
  together.overlap = false;
  together.together = true;
  with_kernel(first, [&](auto element, auto group) {
    launch(decode_token_kernel<decltype(element), decltype(group)::value>, "decode_token",
           dim3(static_cast<unsigned>(how.blocks)), kThreads, shared, together, call);
    return 0;
  });
}

}  // namespace lacuna::cuda
