// Rows that are whole packs of 16 bytes and fit into the registers of one block are read once: a group of
// threads holds a row, several groups share a block. Other widths take the plain loops of rms_norm_any.cu.
#include "kernels/cuda/rms_norm.h"

#include <algorithm>

#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/rms_norm_rows.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;   // of a block, unless a row needs more
constexpr int kMaxGroup = 512;  // threads of one row
constexpr int kMaxPartials =
    264;  // partial sums of the weight's gradient: two blocks on each of 132 processors

// How a row is spread: `group` threads with up to `packs` packs each. By shape alone.
struct Spread {
  int group = 0, packs = 0;
  int threads() const { return std::max(group, kThreads); }
  int rows_of_block() const { return threads() / group; }
};

// packs 0: the row does not fit or is not whole packs.
template <class T>
Spread spread_of(std::int64_t n) {
  if (n % kPack<T> != 0) return {};
  const std::int64_t packs = n / kPack<T>;
  const int each = packs <= 32 ? 1 : packs <= 64 ? 2 : packs <= 4 * kMaxGroup ? 4 : 8;
  if (packs > each * kMaxGroup) return {};
  int group = 1;
  while (group * each < packs) group *= 2;
  return {group, each};
}

// Sum over the threads of a row; `shared` holds one value per warp of the block and alternates between calls.
template <class A>
__device__ A group_sum(A x, int group, A* shared) {
  x = lanes_reduce(x, Add{}, min(group, 32));
  if (group <= 32) return x;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int warps = group / 32;
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  return lanes_reduce(shared[warp / warps * warps + lane % warps], Add{}, warps);
}

template <class T, int N>
__global__ void __launch_bounds__(kMaxGroup)
    forward_kernel(const T* __restrict__ x, const T* __restrict__ weight, Accumulate<T> eps, T* y,
                   Accumulate<T>* rstd, std::int64_t rows, int n, int group) {
  using A = Accumulate<T>;
  constexpr int V = kPack<T>;
  __shared__ A sums[kMaxGroup / 32];
  const int lane = static_cast<int>(threadIdx.x) % group;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / group) + threadIdx.x / group;
  const bool mine = row < rows;
  Raw<T> held[N] = {};
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int at = (lane + j * group) * V;
    if (mine && at < n) held[j] = load_raw(x + row * n + at);
  }
  A squares = 0;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    A v[V];
    unpack<T>(held[j], v);
#pragma unroll
    for (int i = 0; i < V; ++i) squares += v[i] * v[i];
  }
  const A scale = A{1} / sqrt(group_sum(squares, group, sums) / static_cast<A>(n) + eps);
  if (!mine) return;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const int at = (lane + j * group) * V;
    if (at >= n) continue;
    A v[V], w[V];
    unpack<T>(held[j], v);
    load<V>(weight + at, w);
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = v[i] * scale * w[i];
    store<V>(y + row * n + at, v);
  }
  if (lane == 0) rstd[row] = scale;
}

// The gradients of one row that a thread holds: dx, and its part of dw in `sums`.
template <class T, int N>
struct RowGrad {
  using A = Accumulate<T>;
  static constexpr int V = kPack<T>;

  A sums[N][V] = {};

  __device__ void row(const NormGradArgs<T>& g, std::int64_t row, bool mine, int n, int group, int lane,
                      A* shared) {
    const std::int64_t start = row * n;
    Raw<T> x[N] = {}, dy[N] = {}, carried[N] = {};
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int at = (lane + j * group) * V;
      if (!mine || at >= n) continue;
      x[j] = load_raw(g.x + start + at);
      dy[j] = load_raw(g.dy + start + at);
      if (g.carried) carried[j] = load_raw(g.carried + start + at);
    }
    const A scale = mine ? g.rstd[row] : A{0};
    A inner = 0;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      A a[V], b[V], w[V];
      unpack<T>(x[j], a);
      unpack<T>(dy[j], b);
      weights(g, (lane + j * group) * V, n, w);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const A normed = a[i] * scale;
        inner += b[i] * w[i] * normed;
        sums[j][i] += b[i] * normed;
      }
    }
    const A mean = group_sum(inner, group, shared) / static_cast<A>(n);
    if (!mine) return;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int at = (lane + j * group) * V;
      if (at >= n) continue;
      A a[V], b[V], w[V], c[V];
      unpack<T>(x[j], a);
      unpack<T>(dy[j], b);
      unpack<T>(carried[j], c);
      weights(g, at, n, w);
#pragma unroll
      for (int i = 0; i < V; ++i) a[i] = c[i] + scale * (b[i] * w[i] - a[i] * scale * mean);
      store<V>(g.dx + start + at, a);
      if (g.carried_copy) store_raw(g.carried_copy + start + at, carried[j]);
    }
  }

  __device__ static void weights(const NormGradArgs<T>& g, int at, int n, A (&w)[V]) {
    if (at < n) {
      load<V>(g.weight + at, w);
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) w[i] = 0;
    }
  }
};

// Block b takes the row groups b, b + gridDim, ... and leaves its part of dw in partials[b].
template <class T, int N>
__global__ void __launch_bounds__(kMaxGroup)
    backward_kernel(NormGradArgs<T> g, Accumulate<T>* partials, std::int64_t rows, int n, int group) {
  using A = Accumulate<T>;
  constexpr int V = kPack<T>;
  extern __shared__ unsigned char memory[];  // [n] of A where a block has several rows
  __shared__ A shared[2][kMaxGroup / 32];
  const int rows_of_block = static_cast<int>(blockDim.x) / group;
  const int lane = static_cast<int>(threadIdx.x) % group, own = static_cast<int>(threadIdx.x) / group;
  RowGrad<T, N> grads;
  int turn = 0;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * rows_of_block; first < rows;
       first += static_cast<std::int64_t>(gridDim.x) * rows_of_block) {
    grads.row(g, first + own, first + own < rows, n, group, lane, shared[turn]);
    turn ^= 1;
  }
  A* total = reinterpret_cast<A*>(memory);
  A* out = partials + static_cast<std::int64_t>(blockIdx.x) * n;
  for (int r = 0; r < rows_of_block; ++r) {
    if (own == r) {
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const int at = (lane + j * group) * V;
        if (at >= n) continue;
#pragma unroll
        for (int i = 0; i < V; ++i) {
          const A sum = r == 0 ? grads.sums[j][i] : total[at + i] + grads.sums[j][i];
          (r == rows_of_block - 1 ? out : total)[at + i] = sum;
        }
      }
    }
    __syncthreads();
  }
}

// Calls body(std::integral_constant) with the number of packs a thread holds.
template <class Body>
void with_packs(int packs, Body&& body) {
  switch (packs) {
    case 1:
      return body(std::integral_constant<int, 1>{});
    case 2:
      return body(std::integral_constant<int, 2>{});
    case 4:
      return body(std::integral_constant<int, 4>{});
    default:
      return body(std::integral_constant<int, 8>{});
  }
}

std::int64_t backward_blocks(const Spread& spread, std::int64_t rows) {
  return std::min<std::int64_t>(kMaxPartials, ceil_div(rows, spread.rows_of_block()));
}

}  // namespace

void rms_norm(DType dtype, const void* x, const void* weight, double eps, void* y, void* rstd,
              std::int64_t rows, std::int64_t n, Stream stream) {
  if (rows == 0) return;
  LACUNA_ASSERT(n > 0 && is_aligned(x) && is_aligned(y) && is_aligned(weight));
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const Spread spread = spread_of<T>(n);
    const T *from = static_cast<const T*>(x), *w = static_cast<const T*>(weight);
    if (spread.packs == 0) {
      norm_any_width(from, w, static_cast<A>(eps), static_cast<T*>(y), static_cast<A*>(rstd), rows, n,
                     stream);
      return;
    }
    const unsigned grid = grid_of(ceil_div(rows, spread.rows_of_block()));
    with_packs(spread.packs, [&]<int N>(std::integral_constant<int, N>) {
      forward_kernel<T, N><<<grid, static_cast<unsigned>(spread.threads()), 0, stream>>>(
          from, w, static_cast<A>(eps), static_cast<T*>(y), static_cast<A*>(rstd), rows, static_cast<int>(n),
          spread.group);
    });
  });
  check_launch("rms_norm");
}

std::size_t rms_norm_backward_workspace(DType dtype, std::int64_t rows, std::int64_t n) {
  return with_float_type(dtype, [&]<class Tag>(Tag) {
    const Spread spread = spread_of<typename Tag::type>(n);
    const std::int64_t parts = spread.packs > 0 ? backward_blocks(spread, rows) : column_parts(rows);
    return static_cast<std::size_t>(parts * n) * sizeof(Accumulate<typename Tag::type>);
  });
}

void rms_norm_backward(DType dtype, const RmsNormGrad& grad, std::int64_t rows, std::int64_t n,
                       Stream stream) {
  if (rows == 0) return;
  LACUNA_ASSERT(n > 0 && is_aligned(grad.dy) && is_aligned(grad.x) && is_aligned(grad.weight) &&
                is_aligned(grad.carried) && is_aligned(grad.dx) && is_aligned(grad.carried_copy));
  LACUNA_ASSERT(grad.carried || !grad.carried_copy);
  with_float_type(dtype, [&]<class Tag>(Tag) {
    using T = typename Tag::type;
    using A = Accumulate<T>;
    const NormGradArgs<T> args{static_cast<const T*>(grad.dy),      static_cast<const T*>(grad.x),
                               static_cast<const A*>(grad.rstd),    static_cast<const T*>(grad.weight),
                               static_cast<const T*>(grad.carried), static_cast<T*>(grad.dx),
                               static_cast<T*>(grad.carried_copy)};
    A* partials = static_cast<A*>(grad.workspace);
    const Spread spread = spread_of<T>(n);
    int parts = column_parts(rows);
    if (spread.packs == 0) {
      norm_grad_any_width(args, partials, rows, n, stream);
    } else {
      parts = static_cast<int>(backward_blocks(spread, rows));
      const std::size_t shared = spread.rows_of_block() > 1 ? static_cast<std::size_t>(n) * sizeof(A) : 0;
      with_packs(spread.packs, [&]<int N>(std::integral_constant<int, N>) {
        backward_kernel<T, N>
            <<<static_cast<unsigned>(parts), static_cast<unsigned>(spread.threads()), shared, stream>>>(
                args, partials, rows, static_cast<int>(n), spread.group);
      });
      check_launch("rms_norm_backward");
    }
    add_partials(partials, parts, n, static_cast<A*>(grad.weight_grad), stream);
  });
}

}  // namespace lacuna::cuda
