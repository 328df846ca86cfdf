#include "kernels/cuda/decode_linear.cuh"

#include "kernels/cuda/decode_launch.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_linear_kernel(const DecodeLinear call) {
  extern __shared__ float4 shared[];
  const Block block = block_at(shared, lines_of<W>(call.weight.cols) * kLineFloats<W>);
  let_next_start();
  auto stream = linear_stream<W>(call.weight, block);
  stream.start();
  wait_for_previous();
  finish_linear<W>(call, stream, block);
}

}  // namespace

std::size_t decode_shared_bytes(DType dtype, std::int64_t width) {
  const int lines = dtype == DType::BF16 ? lines_of<__nv_bfloat16>(width) : lines_of<float>(width);
  const int floats = dtype == DType::BF16 ? kLineFloats<__nv_bfloat16> : kLineFloats<float>;
  return static_cast<std::size_t>(lines * floats) * 4 + kWarps * kDepth * kLine + kWarps * 4;
}

void decode_linear(const DecodeLinear& call, const DecodeLaunch& how) {
  const DecodeMatrix& weight = call.weight;
  LACUNA_ASSERT(weight.rows > 0 && weight.cols > 0 && weight.rows < (1 << 30));
  LACUNA_ASSERT(weight.stride * static_cast<std::int64_t>(size_of(weight.dtype)) % 16 == 0);
  with_element(weight.dtype, [&](auto element) {
    launch(decode_linear_kernel<decltype(element)>, "decode_linear", dim3(static_cast<unsigned>(how.blocks)),
           kThreads, decode_shared_bytes(weight.dtype, weight.cols), how, call);
  });
}

}  // namespace lacuna::cuda
