// The kernels that read gate rows: all of gate and up with their product, and the gate alone with the list of
// neurons that it opens.
#include "kernels/cuda/decode_ffn.cuh"
#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

// Row 2j of a warp is its neuron j's gate, row 2j + 1 its up.
template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_gate_up_kernel(const DecodeGateUp call) {
  extern __shared__ float4 shared[];
  const int lines = lines_of<W>(call.gate.cols),
            bytes = static_cast<int>(call.gate.cols * sizeof(W) + 15) & ~15;
  char* ring = reinterpret_cast<char*>(shared + lines * kLineFloats<W> / 4);
  auto* sums = reinterpret_cast<float*>(ring + kWarps * kRing);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first = static_cast<int>(blockIdx.x) * kWarps + warp, step = static_cast<int>(gridDim.x) * kWarps;
  const int all = static_cast<int>(call.gate.rows);
  const int neurons = first < all ? (all - first + step - 1) / step : 0;
  const auto address = [&](int k) {
    const DecodeMatrix& matrix = (k & 1) != 0 ? call.up : call.gate;
    const auto row = static_cast<std::size_t>(first + k / 2 * step);
    return Row{
        static_cast<const char*>(matrix.data) + row * static_cast<std::size_t>(matrix.stride) * sizeof(W),
        bytes, 0};
  };
  let_next_start();
  RowStream<W, decltype(address)> stream(ring + warp * kRing, 2 * neurons, lines, address);
  stream.start();
  wait_for_previous();
  const float scale = stage<W>(call.x, call.norm, static_cast<int>(call.gate.cols), lines, shared, sums);
  float gate = 0;
  unsigned long long zeros = 0;
  stream.run(shared, [&](int k, float sum) {
    if ((k & 1) == 0) {
      gate = sum * scale;
      return;
    }
    const float product = gated(call.gating, gate, sum * scale);
    zeros += product == 0;
    if (lane == 0) call.product[first + k / 2 * step] = product;
  });
  if (lane == 0 && neurons > 0) {
    const auto read = static_cast<unsigned long long>(neurons);
    count(call.counts, read, read, zeros);
  }
}

// One segment of neurons a block.
template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_gate_first_kernel(const DecodeGateFirst call) {
  extern __shared__ float4 shared[];
  const int lines = lines_of<W>(call.gate.cols),
            bytes = static_cast<int>(call.gate.cols * sizeof(W) + 15) & ~15;
  char* ring = reinterpret_cast<char*>(shared + lines * kLineFloats<W> / 4);
  auto* sums = reinterpret_cast<float*>(ring + kWarps * kRing);
  float* open = sums + kWarps;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int segment = static_cast<int>(blockIdx.x);
  const auto begin = static_cast<int>(segment_begin(call.lists.neurons, call.lists.segments, segment));
  const int size =
      static_cast<int>(segment_begin(call.lists.neurons, call.lists.segments, segment + 1)) - begin;
  const int rows = warp < size ? (size - warp + kWarps - 1) / kWarps : 0;
  const std::size_t stride = static_cast<std::size_t>(call.gate.stride) * sizeof(W);
  const char* data = static_cast<const char*>(call.gate.data);
  const auto address = [=](int k) {
    return Row{data + static_cast<std::size_t>(begin + warp + k * kWarps) * stride, bytes, 0};
  };
  let_next_start();
  RowStream<W, decltype(address)> stream(ring + warp * kRing, rows, lines, address);
  stream.start();
  wait_for_previous();
  const float scale = stage<W>(call.x, call.norm, static_cast<int>(call.gate.cols), lines, shared, sums);
  stream.run(shared, [&](int k, float sum) {
    if (lane != 0) return;
    const int neuron = warp + k * kWarps;
    open[neuron] = sum * scale;
    call.values[begin + neuron] = sum * scale;
  });
  __syncthreads();
  write_runs(open, size, begin, call.whole, segment, call.lists);
}

}  // namespace

void decode_gate_up(const DecodeGateUp& call, const DecodeLaunch& how) {
  LACUNA_ASSERT(call.gate.rows == call.up.rows && call.gate.cols == call.up.cols &&
                call.gate.dtype == call.up.dtype);
  with_element(call.gate.dtype, [&](auto element) {
    launch(decode_gate_up_kernel<decltype(element)>, "decode_gate_up",
           dim3(static_cast<unsigned>(how.blocks)), kThreads,
           decode_shared_bytes(call.gate.dtype, call.gate.cols), how, call);
  });
}

void decode_gate_first(const DecodeGateFirst& call, const DecodeLaunch& how) {
  const ActiveLists& lists = call.lists;
  LACUNA_ASSERT(lists.segments == how.blocks && lists.neurons == call.gate.rows);
  LACUNA_ASSERT(lists.capacity >= ActiveLists::capacity_for(lists.neurons, lists.segments));
  const auto widest = static_cast<std::size_t>(lists.neurons / lists.segments + 1);
  with_element(call.gate.dtype, [&](auto element) {
    launch(decode_gate_first_kernel<decltype(element)>, "decode_gate_first",
           dim3(static_cast<unsigned>(how.blocks)), kThreads,
           decode_shared_bytes(call.gate.dtype, call.gate.cols) + widest * sizeof(float), how, call);
  });
}

}  // namespace lacuna::cuda
