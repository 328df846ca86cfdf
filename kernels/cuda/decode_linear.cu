#include "kernels/cuda/decode_launch.cuh"
#include "kernels/cuda/decode_linear.h"
#include "kernels/cuda/decode_stream.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

__device__ std::uint64_t best_key(float value, int row) {
  std::uint32_t bits = __float_as_uint(value);
  bits = value != value ? 0xffffffffu : bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
  return static_cast<std::uint64_t>(bits) << 32 | (0xffffffffu - static_cast<std::uint32_t>(row));
}

template <class W>
__global__ void __launch_bounds__(kThreads, 2) decode_linear_kernel(const DecodeLinear call) {
  extern __shared__ float4 shared[];
  const int lines = lines_of<W>(call.weight.cols),
            bytes = static_cast<int>(call.weight.cols * sizeof(W) + 15) & ~15;
  char* ring = reinterpret_cast<char*>(shared + lines * kLineFloats<W> / 4);
  auto* sums = reinterpret_cast<float*>(ring + kWarps * kRing);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first = static_cast<int>(blockIdx.x) * kWarps + warp, step = static_cast<int>(gridDim.x) * kWarps;
  const int all = static_cast<int>(call.weight.rows);
  const int rows = first < all ? (all - first + step - 1) / step : 0;
  const std::size_t stride = static_cast<std::size_t>(call.weight.stride) * sizeof(W);
  const char* data = static_cast<const char*>(call.weight.data);
  const auto address = [=](int k) {
    return Row{data + static_cast<std::size_t>(first + k * step) * stride, bytes, 0};
  };
  let_next_start();
  RowStream<W, decltype(address)> stream(ring + warp * kRing, rows, lines, address);
  stream.start();
  wait_for_previous();
  const float scale = stage<W>(call.x, call.norm, static_cast<int>(call.weight.cols), lines, shared, sums);
  std::uint64_t best = 0;
  stream.run(shared, [&](int k, float sum) {
    if (lane != 0) return;
    const int row = first + k * step;
    float value = sum * scale;
    if (call.bias != nullptr) value += call.bias[row];
    if (call.add) value += __ldcg(call.y + row);
    call.y[row] = value;
    if (call.best != nullptr) best = max(best, best_key(value, row));
  });
  if (best != 0) atomicMax(reinterpret_cast<unsigned long long*>(call.best), best);
}

}  // namespace

std::size_t decode_shared_bytes(DType dtype, std::int64_t width) {
  const int lines = dtype == DType::BF16 ? lines_of<__nv_bfloat16>(width) : lines_of<float>(width);
  const int floats = dtype == DType::BF16 ? kLineFloats<__nv_bfloat16> : kLineFloats<float>;
  return static_cast<std::size_t>(lines * floats) * 4 + kWarps * kRing + kWarps * 4;
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
