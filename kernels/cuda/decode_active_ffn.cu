// Up and down rows of listed neurons, one segment a block, and the sum over segments.
#include "kernels/cuda/decode_active_ffn.cuh"
#include "kernels/cuda/decode_launch.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_active_ffn_kernel(const DecodeActiveFfn call) {
  extern __shared__ float4 shared[];
  const int lines = kParts * part_lines(lines_of<W>(call.up.cols));
  const Block block = block_at(shared, lines * kLineFloats<W>);
  const ActiveShared active = split_shared(block.sums + kWarps, call.lists.widest());
  let_next_start();
  wait_for_previous();
  active_ffn<W>(call, active, block, [&] {
    return stage<W>(call.x, call.norm, static_cast<int>(call.up.cols), lines, block.x, block.sums);
  });
}

__global__ void __launch_bounds__(kThreads)
    decode_add_partials_kernel(const float* partial, int segments, int width, int stride,
                               const StandIns others, float* hidden) {
  __shared__ float4 sums[kWarps * 8];
  let_next_start();
  wait_for_previous();
  add_partials(partial, segments, width, stride, others, hidden, static_cast<int>(blockIdx.x), sums);
}

}  // namespace

void decode_active_ffn(const DecodeActiveFfn& call, const DecodeLaunch& how) {
  LACUNA_ASSERT(call.lists.segments == how.blocks && call.lists.neurons == call.up.rows);
  LACUNA_ASSERT(call.up.rows == call.down.rows && call.up.cols == call.down.cols &&
                call.up.dtype == call.down.dtype);
  LACUNA_ASSERT(call.gate_rows.data == nullptr ||
                (call.gate_rows.rows == call.up.rows && call.gate_rows.cols == call.up.cols &&
                 call.gate_rows.dtype == call.up.dtype));
  with_element(call.up.dtype, [&](auto element) {
    using W = decltype(element);
    const std::size_t x =
        static_cast<std::size_t>(kParts * part_lines(lines_of<W>(call.up.cols))) * kLineFloats<W> * 4;
    const std::size_t shared =
        x + kWarps * kDepth * kLine + kWarps * 4 + static_cast<std::size_t>(active_floats(call)) * 4;
    launch(decode_active_ffn_kernel<W>, "decode_active_ffn", dim3(static_cast<unsigned>(how.blocks)),
           kThreads, shared, how, call);
  });
}

void decode_add_partials(const float* partial, int segments, std::int64_t width, float* hidden,
                         const StandIns& others, const DecodeLaunch& how) {
  LACUNA_ASSERT(others.experts == 0 || others.stride % 4 == 0);
  const auto stride = static_cast<int>(partial_stride(width));
  launch(decode_add_partials_kernel, "decode_add_partials", dim3(static_cast<unsigned>(stride / 32)),
         kThreads, 0, how, partial, segments, static_cast<int>(width), stride, others, hidden);
}

}  // namespace lacuna::cuda
