// The kernels that read gate rows: all of gate and up with their product, and the gate alone with the list of
// neurons that it opens.
#include "kernels/cuda/decode_gate.cuh"

#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_linear.h"

namespace lacuna::cuda {

namespace {

using namespace decode;

template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_gate_up_kernel(const DecodeGateUp call) {
  extern __shared__ float4 shared[];
  const Block block = block_at(shared, lines_of<W>(call.gate.cols) * kLineFloats<W>);
  let_next_start();
  auto stream = gate_up_stream<W>(call, block);
  stream.start();
  wait_for_previous();
  finish_gate_up<W>(call, stream, block);
}

// One segment of neurons a block.
template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_gate_first_kernel(const DecodeGateFirst call) {
  extern __shared__ float4 shared[];
  const int lines = lines_of<W>(call.gate.cols);
  const Block block = block_at(shared, lines * kLineFloats<W>);
  let_next_start();
  auto stream = gate_stream<W>(call, block);
  stream.start();
  wait_for_previous();
  finish_gate<W>(call, stream, lines, block.sums + kWarps, block);
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
  const auto widest = static_cast<std::size_t>(lists.widest());
  with_element(call.gate.dtype, [&](auto element) {
    launch(decode_gate_first_kernel<decltype(element)>, "decode_gate_first",
           dim3(static_cast<unsigned>(how.blocks)), kThreads,
           decode_shared_bytes(call.gate.dtype, call.gate.cols) + widest * sizeof(float), how, call);
  });
}

}  // namespace lacuna::cuda
