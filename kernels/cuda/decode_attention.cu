#include "kernels/cuda/decode_attention.cuh"

#include "kernels/cuda/decode_launch.cuh"

namespace lacuna::cuda {

namespace {

using namespace decode;

template <class W>
__global__ void __launch_bounds__(kThreads) decode_store_kernel(const DecodeAttention call, int tokens) {
  let_next_start();
  wait_for_previous();
  const int task = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  if (task >= tokens * call.kv_heads) return;
  const int token = task / static_cast<int>(call.kv_heads), head = task % static_cast<int>(call.kv_heads);
  store_token<W>(call, head, token, __ldcg(call.position) + token, static_cast<int>(threadIdx.x) % 32);
}

template <class W, int G, bool kStores>
__global__ void __launch_bounds__(kThreads) decode_attention_kernel(const DecodeAttention call) {
  extern __shared__ float4 shared[];
  const Place place = {static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x),
                       static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
  let_next_start();
  if (kStores) fetch_context<W, G>(call, place);
  wait_for_previous();
  attend<W, G, kStores>(call, place, reinterpret_cast<float*>(shared));
}

template <class W, int G>
void launch_attend(const DecodeAttention& call, std::int64_t tokens, bool stores, const DecodeLaunch& how) {
  LACUNA_ASSERT(call.splits <= 32 * kPerLane<W>);
  const std::size_t shared = static_cast<std::size_t>(attend_floats<W, G>(call.head_dim)) * sizeof(float);
  const dim3 grid(static_cast<unsigned>(stores ? call.splits : 1), static_cast<unsigned>(groups_of<G>(call)),
                  static_cast<unsigned>(tokens));
  if (stores)
    launch(decode_attention_kernel<W, G, true>, "decode_attention", grid, kThreads, shared, how, call);
  else
    launch(decode_attention_kernel<W, G, false>, "prefill_attention", grid, kThreads, shared, how, call);
}

void attend_any(const DecodeAttention& call, std::int64_t tokens, bool stores, const DecodeLaunch& how) {
  LACUNA_ASSERT(call.head_dim % 2 == 0 && call.head_dim <= decode_largest_head(call.cache.dtype));
  LACUNA_ASSERT(call.cache.stride * static_cast<std::int64_t>(size_of(call.cache.dtype)) % 16 == 0);
  const std::int64_t group = call.heads / call.kv_heads;
  with_element(call.cache.dtype, [&](auto element) {
    using W = decltype(element);
    if (group == 1) return launch_attend<W, 1>(call, tokens, stores, how);
    if (group == 2) return launch_attend<W, 2>(call, tokens, stores, how);
    launch_attend<W, 4>(call, tokens, stores, how);
  });
}

}  // namespace

void decode_store(const DecodeAttention& call, std::int64_t tokens, const DecodeLaunch& how) {
  const auto grid = static_cast<unsigned>((tokens * call.kv_heads + kWarps - 1) / kWarps);
  with_element(call.cache.dtype, [&](auto element) {
    launch(decode_store_kernel<decltype(element)>, "decode_store", dim3(grid), kThreads, 0, how, call,
           static_cast<int>(tokens));
  });
}

void decode_attention(const DecodeAttention& call, const DecodeLaunch& how) {
  attend_any(call, 1, true, how);
}

void prefill_attention(const DecodeAttention& call, std::int64_t tokens, const DecodeLaunch& how) {
  DecodeAttention whole = call;
  whole.splits = 1;
  attend_any(whole, tokens, false, how);
}

std::int64_t decode_attention_partials(std::int64_t heads, std::int64_t head_dim, int splits) {
  return heads * splits * (head_dim + 2);
}

std::int64_t decode_largest_head(DType dtype) {
  return 512 / static_cast<std::int64_t>(size_of(dtype));
}

}  // namespace lacuna::cuda
