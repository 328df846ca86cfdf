#include "kernels/cuda/decode_rows.h"

#include "kernels/cuda/decode_ffn.cuh"
#include "kernels/cuda/decode_launch.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

constexpr int kRowThreads = 256;

__device__ inline float widened(float value) {
  return value;
}
__device__ inline float widened(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
__device__ inline void narrow(float value, float* at) {
  *at = value;
}
__device__ inline void narrow(float value, __nv_bfloat16* at) {
  *at = __float2bfloat16_rn(value);
}

template <class W>
__global__ void decode_embed_kernel(const W* embedding, std::int64_t stride, int width,
                                    const std::int32_t* tokens, float* hidden, std::int64_t hidden_stride,
                                    std::uint64_t* best) {
  let_next_start();
  wait_for_previous();
  const int token = static_cast<int>(blockIdx.y);
  const W* row = embedding + __ldcg(tokens + token) * stride;
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < width) hidden[token * hidden_stride + i] = widened(row[i]);
  if (best != nullptr && i == 0 && token == 0) *best = 0;
}

// One block a row.
template <class W>
__global__ void __launch_bounds__(kRowThreads)
    prefill_norm_kernel(const float* x, std::int64_t x_stride, DecodeNorm norm, W* y, std::int64_t y_stride,
                        int width) {
  __shared__ float sums[kRowThreads / 32];
  let_next_start();
  wait_for_previous();
  const float* from = x + blockIdx.x * x_stride;
  float scale = 1;
  if (norm.weight != nullptr) {
    float squares = 0;
    for (int i = static_cast<int>(threadIdx.x); i < width; i += kRowThreads) {
      const float value = __ldcg(from + i);
      squares = fmaf(value, value, squares);
    }
    squares = warp_sum(squares);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
    __syncthreads();
    squares = 0;
    for (float part : sums) squares += part;
    scale = 1 / sqrtf(squares / static_cast<float>(width) + norm.eps);
  }
  for (int i = static_cast<int>(threadIdx.x); i < width; i += kRowThreads) {
    const float value = __ldcg(from + i) * scale;
    narrow(norm.weight != nullptr ? value * norm.weight[i] : value, y + blockIdx.x * y_stride + i);
  }
}

__global__ void prefill_bias_kernel(const float* bias, int width, float* rows, std::int64_t stride) {
  let_next_start();
  wait_for_previous();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  float* row = rows + blockIdx.y * stride;
  if (i < width) row[i] = __ldcg(row + i) + bias[i];
}

// What the product of a neuron is multiplied with for a token.
__device__ inline float expert_gate(const ExpertGates& experts, std::int64_t token, int neuron) {
  if (experts.experts == 0 || neuron < __ldg(experts.begin)) return 1;
  int low = 0, high = experts.experts;  // begin[low] <= neuron < begin[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (__ldg(experts.begin + middle) <= neuron ? low : high) = middle;
  }
  return __ldcg(experts.gates + token * experts.experts + low);
}

template <class W>
__global__ void __launch_bounds__(kRowThreads)
    prefill_gated_kernel(Gating gating, const float* gate, const float* up, std::int64_t stride,
                         const ExpertGates experts, W* product, std::int64_t product_stride, int width,
                         DecodeCounts* counts) {
  __shared__ unsigned long long sums[kRowThreads / 32];
  let_next_start();
  wait_for_previous();
  const std::int64_t row = blockIdx.x;
  unsigned zeros = 0;
  for (int i = static_cast<int>(threadIdx.x); i < width; i += kRowThreads) {
    const float factor = expert_gate(experts, row, i);
    const float value =
        factor == 0 ? 0
                    : gated(gating, __ldcg(gate + row * stride + i), __ldcg(up + row * stride + i)) * factor;
    zeros += value == 0;
    narrow(value, product + row * product_stride + i);
  }
  zeros = __reduce_add_sync(0xffffffffu, zeros);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = zeros;
  __syncthreads();
  if (threadIdx.x != 0) return;
  unsigned long long all = 0;
  for (unsigned long long part : sums) all += part;
  const auto rows = static_cast<unsigned long long>(blockIdx.x == 0 ? width : 0);
  count(counts, rows, rows, all);
}

__global__ void prefill_stand_ins_kernel(const StandIns others, int width, float* rows, std::int64_t stride) {
  let_next_start();
  wait_for_previous();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= width) return;
  const std::int64_t token = blockIdx.y;
  float sum = 0;
  for (int e = 0; e < others.experts; ++e)
    if (__ldcg(others.gates + token * others.experts + e) == 0)
      sum += __ldg(others.mean + e * others.stride + i);
  rows[token * stride + i] = __ldcg(rows + token * stride + i) + sum;
}

__global__ void __launch_bounds__(512) read_stream_kernel(const uint4* data, std::size_t count, float* sink) {
  unsigned mixed = 0;
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
#pragma unroll 4
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    const uint4 v = __ldcs(data + i);
    mixed ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if (mixed == 0x12345678u) *sink = 1;  // keeps the loads
}

unsigned blocks_for(std::int64_t width) {
  return static_cast<unsigned>((width + kRowThreads - 1) / kRowThreads);
}

}  // namespace

void decode_embed(const DecodeMatrix& embedding, const std::int32_t* tokens, std::int64_t count,
                  float* hidden, std::int64_t hidden_stride, std::uint64_t* best, const DecodeLaunch& how) {
  with_element(embedding.dtype, [&](auto element) {
    using W = decltype(element);
    launch(decode_embed_kernel<W>, "decode_embed",
           dim3(blocks_for(embedding.cols), static_cast<unsigned>(count)), kRowThreads, 0, how,
           static_cast<const W*>(embedding.data), embedding.stride, static_cast<int>(embedding.cols), tokens,
           hidden, hidden_stride, best);
  });
}

void prefill_norm(const float* x, std::int64_t x_stride, DecodeNorm norm, const ProductRows& y,
                  const DecodeLaunch& how) {
  with_element(y.dtype, [&](auto element) {
    using W = decltype(element);
    launch(prefill_norm_kernel<W>, "prefill_norm", dim3(static_cast<unsigned>(y.count)), kRowThreads, 0, how,
           x, x_stride, norm, static_cast<W*>(y.data), y.stride, static_cast<int>(y.width));
  });
}

void prefill_bias(const float* bias, std::int64_t width, float* rows, std::int64_t stride, std::int64_t count,
                  const DecodeLaunch& how) {
  launch(prefill_bias_kernel, "prefill_bias", dim3(blocks_for(width), static_cast<unsigned>(count)),
         kRowThreads, 0, how, bias, static_cast<int>(width), rows, stride);
}

void prefill_gated(Gating gating, const float* gate, const float* up, std::int64_t stride,
                   const ExpertGates& experts, const ProductRows& product, DecodeCounts* counts,
                   const DecodeLaunch& how) {
  with_element(product.dtype, [&](auto element) {
    using W = decltype(element);
    launch(prefill_gated_kernel<W>, "prefill_gated", dim3(static_cast<unsigned>(product.count)), kRowThreads,
           0, how, gating, gate, up, stride, experts, static_cast<W*>(product.data), product.stride,
           static_cast<int>(product.width), counts);
  });
}

void prefill_stand_ins(const StandIns& others, std::int64_t width, float* rows, std::int64_t stride,
                       std::int64_t count, const DecodeLaunch& how) {
  launch(prefill_stand_ins_kernel, "prefill_stand_ins", dim3(blocks_for(width), static_cast<unsigned>(count)),
         kRowThreads, 0, how, others, static_cast<int>(width), rows, stride);
}

void read_stream(const void* data, std::size_t bytes, float* sink, const DecodeLaunch& how) {
  read_stream_kernel<<<static_cast<unsigned>(how.blocks * 16), 512, 0, how.stream>>>(
      static_cast<const uint4*>(data), bytes / 16, sink);
  check_launch("read_stream");
}

}  // namespace lacuna::cuda
