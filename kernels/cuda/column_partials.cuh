// Sums over rows in two stages without atomics: blocks leave partial sums [parts, cols], then add_partials
// adds them to the result in a fixed order.
#pragma once

#include <cstdint>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

inline constexpr int kTile = 32;

// sums[c] += Σ partials[p][c]: lane y of a 32 × 32 block takes the parts y, y + 32, ...; then the lanes
// ascend.
template <class A>
__global__ void __launch_bounds__(kTile* kTile)
    add_partials_kernel(const A* partials, int parts, std::int64_t cols, A* sums) {
  __shared__ A lanes[kTile][kTile + 1];
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * kTile + threadIdx.x;
  A sum = 0;
  if (col < cols) {
#pragma unroll 4
    for (int part = static_cast<int>(threadIdx.y); part < parts; part += kTile)
      sum += partials[part * cols + col];
  }
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
  for (int lane = 1; lane < kTile; ++lane) sum += lanes[lane][threadIdx.x];
  sums[col] += sum;
}

template <class A>
void add_partials(const A* partials, int parts, std::int64_t cols, A* sums, Stream stream) {
  add_partials_kernel<A>
      <<<grid_of(ceil_div(cols, kTile)), dim3(kTile, kTile), 0, stream>>>(partials, parts, cols, sums);
  check_launch("add_partials");
}

// partials[p][c] = Σ term(row, c) over the rows p, p + parts, ... (parts = gridDim.y).
template <class A, class Term>
__global__ void column_partials_kernel(Term term, std::int64_t rows, std::int64_t cols, A* partials) {
  const std::int64_t col = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col >= cols) return;
  A sum = 0;
#pragma unroll 8
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) sum += term(row, col);
  partials[blockIdx.y * cols + col] = sum;
}

// Parts for so many rows: by shape alone.
inline int column_parts(std::int64_t rows) {
  return static_cast<int>(rows < 4096 ? ceil_div(rows, 16) : 256);
}

template <class A, class Term>
void column_partials(Term term, std::int64_t rows, std::int64_t cols, A* partials, Stream stream) {
  constexpr int kThreads = 128;
  const dim3 grid(grid_of(ceil_div(cols, kThreads)), static_cast<unsigned>(column_parts(rows)));
  column_partials_kernel<A><<<grid, kThreads, 0, stream>>>(term, rows, cols, partials);
  check_launch("column_partials");
}

}  // namespace lacuna::cuda
