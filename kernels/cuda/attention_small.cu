// Blocks of eight warps. Forward and the query's gradient: a warp has one query, its lanes 32 keys at a time.
// The gradients of keys and values: a warp has one key, its lanes 32 queries at a time. Tiles ascend, sums
// are chains.
#include "kernels/cuda/attention_small.h"

#include <cfloat>
#include <cmath>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kWarps = 8, kLanes = 32, kThreads = kWarps * kLanes;
constexpr int kMaxHead = 256, kColumns = kMaxHead / kLanes;  // columns of a lane

struct Shape {
  std::int64_t seq_len, kv_heads, group, window;
  int d;

  __device__ std::int64_t first_key(std::int64_t query) const {
    return window > 0 && query + 1 > window ? query + 1 - window : 0;
  }
  __device__ std::int64_t last_query(std::int64_t key) const {
    return window > 0 && key + window < seq_len ? key + window - 1 : seq_len - 1;
  }
  __device__ bool sees(std::int64_t query, std::int64_t key) const {
    return key <= query && key >= first_key(query);
  }
  // Offset of (position, head) in [tokens, heads·d] of the block's sequence, which blockIdx.z numbers.
  __device__ std::int64_t at(std::int64_t position, std::int64_t head, std::int64_t heads) const {
    return ((blockIdx.z * seq_len + position) * heads + head) * d;
  }
};

// Rows position .. position + rows - 1 of a head into `to` with `stride`; zeros from `end` on.
template <class T, class A>
__device__ void load_tile(const Shape& shape, const T* from, std::int64_t head, std::int64_t heads,
                          std::int64_t position, std::int64_t end, int rows, A* to, int stride) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * shape.d; i += kThreads) {
    const int row = i / shape.d, col = i % shape.d;
    to[row * stride + col] =
        position + row < end ? widen(from[shape.at(position + row, head, heads) + col]) : A{0};
  }
}

template <class A>
__device__ A dot(const A* a, const A* b, int d) {
  A sum = 0;
#pragma unroll 4
  for (int i = 0; i < d; ++i) sum += a[i] * b[i];
  return sum;
}

// sums[j] += Σ over lanes of weight(lane) · tile[lane][lane of this thread + 32·j].
template <class A>
__device__ void add_weighted(A weight, const A* tile, int stride, int d, A (&sums)[kColumns]) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int row = 0; row < kLanes; ++row) {
    const A w = __shfl_sync(0xffffffffu, weight, row);
#pragma unroll
    for (int j = 0; j < kColumns; ++j)
      if (lane + j * kLanes < d) sums[j] += w * tile[row * stride + lane + j * kLanes];
  }
}

template <class T, class A>
__device__ void store_row(T* to, const A (&x)[kColumns], A factor, int d) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
#pragma unroll
  for (int j = 0; j < kColumns; ++j)
    if (lane + j * kLanes < d) to[lane + j * kLanes] = narrow<T>(x[j] * factor);
}

// Blocks: (query tiles, heads, sequences). Shared: queries [8, d], keys and values [32, d + 1].
template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Shape shape, Accumulate<T> scale, const T* query, const T* key, const T* value, T* context,
                   Accumulate<T>* lse) {
  using A = Accumulate<T>;
  extern __shared__ unsigned char memory[];
  const int d = shape.d, stride = d + 1, lane = static_cast<int>(threadIdx.x) % kLanes;
  A* queries = reinterpret_cast<A*>(memory);
  A *keys = queries + kWarps * d, *values = keys + kLanes * stride;
  const std::int64_t head = blockIdx.y, heads = shape.kv_heads * shape.group, kv = head / shape.group;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kWarps;
  const std::int64_t end = min(begin + kWarps, shape.seq_len), position = begin + threadIdx.x / kLanes;
  load_tile(shape, query, head, heads, begin, end, kWarps, queries, d);
  const A* mine = queries + threadIdx.x / kLanes * d;
  A top = sizeof(A) == 8 ? static_cast<A>(-DBL_MAX) : static_cast<A>(-FLT_MAX), sum = 0;
  A sums[kColumns] = {};
  for (std::int64_t first = shape.first_key(begin); first < end; first += kLanes) {
    __syncthreads();
    load_tile(shape, key, kv, shape.kv_heads, first, end, kLanes, keys, stride);
    load_tile(shape, value, kv, shape.kv_heads, first, end, kLanes, values, stride);
    __syncthreads();
    const bool visible = position < end && shape.sees(position, first + lane);
    const A score = visible ? dot(mine, keys + lane * stride, d) * scale : A{0};
    const A larger = Larger{}(top, lanes_reduce(visible ? score : top, Larger{}));
    const A weight = visible ? exponential(score - larger) : A{0}, shrink = exponential(top - larger);
    sum = sum * shrink + lanes_reduce(weight, Add{});
#pragma unroll
    for (int j = 0; j < kColumns; ++j) sums[j] *= shrink;
    add_weighted(weight, values, stride, d, sums);
    top = larger;
  }
  if (position >= end) return;
  store_row(context + shape.at(position, head, heads), sums, A{1} / sum, d);
  if (lane == 0) lse[(blockIdx.z * shape.seq_len + position) * heads + head] = top + log(sum);
}

// inner [tokens, heads] = Σ context · context_grad of a head; one warp each.
template <class T>
__global__ void __launch_bounds__(kThreads)
    inner_kernel(const T* context, const T* context_grad, std::int64_t rows, int d, Accumulate<T>* inner) {
  using A = Accumulate<T>;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (row >= rows) return;
  A sum = 0;
  for (int i = static_cast<int>(threadIdx.x) % kLanes; i < d; i += kLanes)
    sum += widen(context[row * d + i]) * widen(context_grad[row * d + i]);
  sum = lanes_reduce(sum, Add{});
  if (threadIdx.x % kLanes == 0) inner[row] = sum;
}

// What the backward kernels read beside queries, keys and values.
template <class T>
struct Backward {
  const T* context_grad;
  const Accumulate<T>* lse;
  const Accumulate<T>* inner;
};

// Blocks: (key tiles, kv heads, sequences). Shared: keys, values [8, d], queries, their output gradients
// [32, d + 1].
template <class T>
__global__ void __launch_bounds__(kThreads)
    kv_grad_kernel(Shape shape, Accumulate<T> scale, const T* query, const T* key, const T* value,
                   Backward<T> back, T* key_grad, T* value_grad) {
  using A = Accumulate<T>;
  extern __shared__ unsigned char memory[];
  const int d = shape.d, stride = d + 1, lane = static_cast<int>(threadIdx.x) % kLanes;
  A* keys = reinterpret_cast<A*>(memory);
  A *values = keys + kWarps * d, *queries = values + kWarps * d, *grads = queries + kLanes * stride;
  const std::int64_t kv = blockIdx.y, heads = shape.kv_heads * shape.group;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kWarps;
  const std::int64_t end = min(begin + kWarps, shape.seq_len), position = begin + threadIdx.x / kLanes;
  load_tile(shape, key, kv, shape.kv_heads, begin, end, kWarps, keys, d);
  load_tile(shape, value, kv, shape.kv_heads, begin, end, kWarps, values, d);
  const int own = static_cast<int>(threadIdx.x) / kLanes * d;
  const std::int64_t last = shape.last_query(end - 1);
  A key_sums[kColumns] = {}, value_sums[kColumns] = {};
  for (std::int64_t head = kv * shape.group; head < (kv + 1) * shape.group; ++head)
    for (std::int64_t first = begin; first <= last; first += kLanes) {
      __syncthreads();
      load_tile(shape, query, head, heads, first, last + 1, kLanes, queries, stride);
      load_tile(shape, back.context_grad, head, heads, first, last + 1, kLanes, grads, stride);
      __syncthreads();
      A weight = 0, score_grad = 0;
      if (position < end && first + lane <= last && shape.sees(first + lane, position)) {
        const std::int64_t at = (blockIdx.z * shape.seq_len + first + lane) * heads + head;
        weight = exponential(dot(queries + lane * stride, keys + own, d) * scale - back.lse[at]);
        score_grad = weight * (dot(grads + lane * stride, values + own, d) - back.inner[at]) * scale;
      }
      add_weighted(score_grad, queries, stride, d, key_sums);
      add_weighted(weight, grads, stride, d, value_sums);
    }
  if (position >= end) return;
  store_row(key_grad + shape.at(position, kv, shape.kv_heads), key_sums, A{1}, d);
  store_row(value_grad + shape.at(position, kv, shape.kv_heads), value_sums, A{1}, d);
}

// Blocks as in forward. Shared: queries, their output gradients [8, d], keys, values [32, d + 1]. A block
// alone reads its queries, before it writes their gradients in their place.
template <class T>
__global__ void __launch_bounds__(kThreads)
    query_grad_kernel(Shape shape, Accumulate<T> scale, T* query, const T* key, const T* value,
                      Backward<T> back) {
  using A = Accumulate<T>;
  extern __shared__ unsigned char memory[];
  const int d = shape.d, stride = d + 1, lane = static_cast<int>(threadIdx.x) % kLanes;
  A* queries = reinterpret_cast<A*>(memory);
  A *grads = queries + kWarps * d, *keys = grads + kWarps * d, *values = keys + kLanes * stride;
  const std::int64_t head = blockIdx.y, heads = shape.kv_heads * shape.group, kv = head / shape.group;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kWarps;
  const std::int64_t end = min(begin + kWarps, shape.seq_len), position = begin + threadIdx.x / kLanes;
  load_tile(shape, query, head, heads, begin, end, kWarps, queries, d);
  load_tile(shape, back.context_grad, head, heads, begin, end, kWarps, grads, d);
  const int own = static_cast<int>(threadIdx.x) / kLanes * d;
  A sums[kColumns] = {};
  for (std::int64_t first = shape.first_key(begin); first < end; first += kLanes) {
    __syncthreads();
    load_tile(shape, key, kv, shape.kv_heads, first, end, kLanes, keys, stride);
    load_tile(shape, value, kv, shape.kv_heads, first, end, kLanes, values, stride);
    __syncthreads();
    A score_grad = 0;
    if (position < end && shape.sees(position, first + lane)) {
      const std::int64_t at = (blockIdx.z * shape.seq_len + position) * heads + head;
      const A weight = exponential(dot(queries + own, keys + lane * stride, d) * scale - back.lse[at]);
      score_grad = weight * (dot(grads + own, values + lane * stride, d) - back.inner[at]) * scale;
    }
    add_weighted(score_grad, keys, stride, d, sums);
  }
  if (position < end) store_row(query + shape.at(position, head, heads), sums, A{1}, d);
}

Shape shape_of(const AttentionSize& size) {
  LACUNA_ASSERT(size.head_dim > 0 && size.head_dim <= kMaxHead);
  return {size.seq_len, size.kv_heads, size.group, size.window, static_cast<int>(size.head_dim)};
}

// Blocks of eight positions for each head of each sequence.
dim3 grid_for(const AttentionSize& size, std::int64_t heads) {
  LACUNA_ASSERT(heads <= 65535 && size.sequences <= 65535);
  return {grid_of(ceil_div(size.seq_len, kWarps)), static_cast<unsigned>(heads),
          static_cast<unsigned>(size.sequences)};
}

// Bytes of `short_tiles` tiles of eight rows and two of 32; the kernel is allowed to use them.
template <class A, class Kernel>
std::size_t shared_bytes(Kernel kernel, int short_tiles, std::int64_t d) {
  const std::int64_t elements = short_tiles * kWarps * d + 2 * kLanes * (d + 1);
  const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(A);
  allow_shared(reinterpret_cast<const void*>(kernel), bytes, "attention_small");
  return bytes;
}

std::int64_t tokens_of(const AttentionSize& size) {
  return size.sequences * size.seq_len;
}

}  // namespace

void attention_small(const AttentionSize& size, const void* query, const void* key, const void* value,
                     void* context, void* lse, Stream stream) {
  if (tokens_of(size) == 0) return;
  with_float_type(size.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const A scale = A{1} / std::sqrt(static_cast<A>(size.head_dim));
    const std::size_t bytes = shared_bytes<A>(forward_kernel<T>, 1, size.head_dim);
    forward_kernel<T><<<grid_for(size, size.kv_heads * size.group), kThreads, bytes, stream>>>(
        shape_of(size), scale, static_cast<const T*>(query), static_cast<const T*>(key),
        static_cast<const T*>(value), static_cast<T*>(context), static_cast<A*>(lse));
  });
  check_launch("attention_small");
}

std::size_t attention_small_backward_workspace(const AttentionSize& size) {
  const std::size_t accumulate = size.dtype == DType::F64 ? sizeof(double) : sizeof(float);
  const auto tokens = static_cast<std::size_t>(tokens_of(size));
  const auto kv = static_cast<std::size_t>(size.kv_heads);
  return tokens * kv * static_cast<std::size_t>(size.group) * accumulate +
         2 * tokens * kv * static_cast<std::size_t>(size.head_dim) * size_of(size.dtype);
}

void attention_small_backward(const AttentionSize& size, void* query, void* key, void* value,
                              const void* context, const void* lse, const void* context_grad, void* workspace,
                              Stream stream) {
  if (tokens_of(size) == 0) return;
  with_float_type(size.dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const Shape shape = shape_of(size);
    const A scale = A{1} / std::sqrt(static_cast<A>(size.head_dim));
    const std::int64_t heads = size.kv_heads * size.group, rows = tokens_of(size) * heads;
    const std::int64_t kv_elements = tokens_of(size) * size.kv_heads * size.head_dim;
    A* inner = static_cast<A*>(workspace);
    T *key_grad = reinterpret_cast<T*>(inner + rows), *value_grad = key_grad + kv_elements;
    T* q = static_cast<T*>(query);
    const T *k = static_cast<const T*>(key), *v = static_cast<const T*>(value);
    inner_kernel<T><<<grid_of(ceil_div(rows, kWarps)), kThreads, 0, stream>>>(
        static_cast<const T*>(context), static_cast<const T*>(context_grad), rows, shape.d, inner);
    check_launch("attention_small inner");
    const Backward<T> back{static_cast<const T*>(context_grad), static_cast<const A*>(lse), inner};
    std::size_t bytes = shared_bytes<A>(kv_grad_kernel<T>, 2, size.head_dim);
    kv_grad_kernel<T><<<grid_for(size, size.kv_heads), kThreads, bytes, stream>>>(shape, scale, q, k, v, back,
                                                                                  key_grad, value_grad);
    check_launch("attention_small kv_grad");
    bytes = shared_bytes<A>(query_grad_kernel<T>, 2, size.head_dim);
    query_grad_kernel<T><<<grid_for(size, heads), kThreads, bytes, stream>>>(shape, scale, q, k, v, back);
    check_launch("attention_small query_grad");
    const std::size_t kv_bytes = static_cast<std::size_t>(kv_elements) * sizeof(T);
    check(cudaMemcpyAsync(key, key_grad, kv_bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
    check(cudaMemcpyAsync(value, value_grad, kv_bytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
  });
}

}  // namespace lacuna::cuda
