#include "kernels/cuda/decode_random.h"

#include "kernels/cuda/decode_launch.cuh"
#include "src/base/rng.h"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

__device__ inline void put(float value, float* at) {
  *at = value;
}
__device__ inline void put(float value, __nv_bfloat16* at) {
  *at = __float2bfloat16_rn(value);
}

template <class W>
__global__ void decode_fill_kernel(W* data, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                                   std::uint64_t key, float half_width, bool transposed) {
  const std::int64_t r = blockIdx.x;
  for (std::int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const std::int64_t index = transposed ? c * rows + r : r * cols + c;
    const float steps = static_cast<float>(rng_bits(key, static_cast<std::uint64_t>(index)) >> 40);
    put((steps * 0x1p-23f - 1.0f) * half_width, data + r * stride + c);
  }
}

template <class W>
__global__ void decode_fill_column_kernel(W* data, std::int64_t rows, std::int64_t stride,
                                          const float* values, float scale) {
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r < rows) put(values == nullptr ? scale : values[r] * scale, data + r * stride);
}

}  // namespace

void decode_fill(const DecodeMatrix& matrix, std::uint64_t key, float half_width, bool transposed,
                 Stream stream) {
  decode::with_element(matrix.dtype, [&](auto element) {
    using W = decltype(element);
    decode_fill_kernel<<<static_cast<unsigned>(matrix.rows), kThreads, 0, stream>>>(
        static_cast<W*>(const_cast<void*>(matrix.data)), matrix.rows, matrix.cols, matrix.stride, key,
        half_width, transposed);
  });
  check_launch("decode_fill");
}

void decode_fill_column(const DecodeMatrix& matrix, std::int64_t column, const float* values, float scale,
                        Stream stream) {
  decode::with_element(matrix.dtype, [&](auto element) {
    using W = decltype(element);
    decode_fill_column_kernel<<<static_cast<unsigned>((matrix.rows + kThreads - 1) / kThreads), kThreads, 0,
                                stream>>>(static_cast<W*>(const_cast<void*>(matrix.data)) + column,
                                          matrix.rows, matrix.stride, values, scale);
  });
  check_launch("decode_fill_column");
}

}  // namespace lacuna::cuda
