#include "kernels/cuda/decode_route.h"

#include <algorithm>

#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_route.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

// blockIdx.y is the token.
__global__ void __launch_bounds__(kThreads, 2) decode_route_kernel(const DecodeRoute call) {
  extern __shared__ float4 shared[];
  __shared__ bool last;
  const int token = static_cast<int>(blockIdx.y);
  const Block block = block_at(shared, route_lines(call.rows.cols) * kLineFloats<float>);
  let_next_start();
  RouteStream stream = route_stream(call, block);
  stream.start();
  wait_for_previous();
  finish_route(call, stream, token, block);
  __threadfence();
  __syncthreads();
  if (block.thread == 0) {
    last = atomicAdd(call.arrived + token, 1u) == gridDim.x - 1;
    if (last) call.arrived[token] = 0;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  choose(call, token, block.ring);
}

}  // namespace

void decode_route(const DecodeRoute& call, std::int64_t tokens, const DecodeLaunch& how) {
  const ActiveLists& lists = call.lists;
  LACUNA_ASSERT(call.experts > 0 && tokens > 0 && (lists.runs == nullptr || tokens == 1));
  LACUNA_ASSERT(call.rows.rows == 0 || call.rows.dtype == DType::F32);
  LACUNA_ASSERT(
      lists.runs == nullptr ||
      (lists.factors != nullptr && lists.segments == how.blocks &&
       lists.capacity >= ActiveLists::capacity_for_parts(lists.neurons, lists.segments, call.experts + 1)));
  const std::int64_t units = call.rows.rows * kParts;
  const auto blocks = static_cast<unsigned>(
      std::clamp<std::int64_t>((units + kWarps - 1) / kWarps, 1, std::max(how.blocks, 1)));
  const std::size_t x = static_cast<std::size_t>(route_lines(call.rows.cols)) * kLine;
  const std::size_t ring =
      std::max<std::size_t>(kWarps * kDepth * kLine, static_cast<std::size_t>(route_bytes(call.experts)));
  launch(decode_route_kernel, "decode_route", dim3(blocks, static_cast<unsigned>(tokens)), kThreads,
         x + ring + kWarps * 4, how, call);
}

}  // namespace lacuna::cuda
