#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/embedding.h"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kPacks = 4;                 // of one thread
constexpr int kColumns = 32, kLanes = 8;  // of the gradient's blocks: packs of columns, positions at a time

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(const T* __restrict__ table, std::int64_t first, std::int64_t table_rows,
                const std::int32_t* __restrict__ tokens, std::int64_t packs, int packs_of_row,
                T* __restrict__ out) {
  using A = Accumulate<T>;
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.x) * (kThreads * kPacks) + threadIdx.x;
  A v[kPacks][V] = {};
#pragma unroll
  for (int j = 0; j < kPacks; ++j) {
    const std::int64_t at = start + j * kThreads;
    if (at >= packs) continue;
    const std::int64_t token = at / packs_of_row, row = tokens[token] - first;
    if (row < 0 || row >= table_rows) continue;
    load<V>(table + (row * packs_of_row + at - token * packs_of_row) * V, v[j]);
  }
#pragma unroll
  for (int j = 0; j < kPacks; ++j)
    if (start + j * kThreads < packs) store<V>(out + (start + j * kThreads) * V, v[j]);
}

// A block adds one row of the table, 32 packs of columns: lane y takes the positions y, y + 8, ...; then the
// lanes ascend.
template <class T, int V>
__global__ void __launch_bounds__(kColumns* kLanes)
    grad_kernel(const T* __restrict__ row_grads, const std::int32_t* __restrict__ rows,
                const std::int32_t* __restrict__ offsets, const std::int32_t* __restrict__ positions,
                std::int64_t cols, Accumulate<T>* __restrict__ grad) {
  using A = Accumulate<T>;
  __shared__ A lanes[kLanes][V][kColumns];
  const std::int64_t col = (static_cast<std::int64_t>(blockIdx.y) * kColumns + threadIdx.x) * V;
  const int begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  const bool inside = col < cols;
  A sum[V] = {};
  if (inside) {
#pragma unroll 4
    for (int p = begin + static_cast<int>(threadIdx.y); p < end; p += kLanes) {
      A v[V];
      load<V>(row_grads + positions[p] * cols + col, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += v[i];
    }
  }
  if (end - begin > 1) {  // the same for the whole block
#pragma unroll
    for (int i = 0; i < V; ++i) lanes[threadIdx.y][i][threadIdx.x] = sum[i];
    __syncthreads();
  }
  if (threadIdx.y != 0 || !inside) return;
  const int used = min(end - begin, kLanes);
  for (int lane = 1; lane < used; ++lane) {
#pragma unroll
    for (int i = 0; i < V; ++i) sum[i] += lanes[lane][i][threadIdx.x];
  }
  A* to = grad + rows[blockIdx.x] * cols + col;
  constexpr int kWide = V == 1 ? 1 : kPack<A>;
#pragma unroll
  for (int i = 0; i < V; i += kWide) {
    A before[kWide];
    load<kWide>(to + i, before);
#pragma unroll
    for (int k = 0; k < kWide; ++k) before[k] += sum[i + k];
    store<kWide>(to + i, before);
  }
}

}  // namespace

void embedding_rows(DType dtype, const void* table, std::int64_t first, std::int64_t table_rows,
                    const std::int32_t* tokens, std::int64_t count, std::int64_t cols, void* out,
                    Stream stream) {
  if (count == 0 || cols == 0) return;
  LACUNA_ASSERT(is_aligned(table) && is_aligned(out));
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    const bool wide = cols % kPack<T> == 0;
    const auto kernel = wide ? rows_kernel<T, kPack<T>> : rows_kernel<T, 1>;
    const std::int64_t packs_of_row = wide ? cols / kPack<T> : cols, packs = count * packs_of_row;
    kernel<<<grid_of(ceil_div(packs, kThreads * kPacks)), kThreads, 0, stream>>>(
        static_cast<const T*>(table), first, table_rows, tokens, packs, static_cast<int>(packs_of_row),
        static_cast<T*>(out));
  });
  check_launch("embedding_rows");
}

void embedding_grad(DType dtype, const void* row_grads, const std::int32_t* rows, const std::int32_t* offsets,
                    const std::int32_t* positions, std::int64_t distinct, std::int64_t cols, void* grad,
                    Stream stream) {
  if (distinct == 0 || cols == 0) return;
  LACUNA_ASSERT(is_aligned(row_grads) && is_aligned(grad));
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    const bool wide = cols % kPack<T> == 0;
    const auto kernel = wide ? grad_kernel<T, kPack<T>> : grad_kernel<T, 1>;
    const std::int64_t slabs = ceil_div(cols, kColumns * (wide ? kPack<T> : 1));
    LACUNA_ASSERT(slabs <= 65535);
    kernel<<<dim3(grid_of(distinct), static_cast<unsigned>(slabs)), dim3(kColumns, kLanes), 0, stream>>>(
        static_cast<const T*>(row_grads), rows, offsets, positions, cols, static_cast<Accumulate<T>*>(grad));
  });
  check_launch("embedding_grad");
}

}  // namespace lacuna::cuda
