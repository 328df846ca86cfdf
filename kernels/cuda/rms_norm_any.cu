#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/rms_norm_rows.cuh"

namespace lacuna::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void forward_kernel(const T* x, const T* weight, Accumulate<T> eps, T* y, Accumulate<T>* rstd,
                               std::int64_t n) {
  using A = Accumulate<T>;
  __shared__ A shared[32];
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.x) * n;
  A squares = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads) {
    const A v = widen(x[start + i]);
    squares += v * v;
  }
  const A scale = A{1} / sqrt(block_reduce(squares, A{0}, shared, Add{}) / static_cast<A>(n) + eps);
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads)
    y[start + i] = narrow<T>(widen(x[start + i]) * scale * widen(weight[i]));
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
}

template <class T>
__global__ void input_grad_kernel(NormGradArgs<T> g, std::int64_t n) {
  using A = Accumulate<T>;
  __shared__ A shared[32];
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.x) * n;
  const A scale = g.rstd[blockIdx.x];
  A inner = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads)
    inner += widen(g.dy[start + i]) * widen(g.weight[i]) * (widen(g.x[start + i]) * scale);
  const A mean = block_reduce(inner, A{0}, shared, Add{}) / static_cast<A>(n);
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads) {
    const A carried = g.carried ? widen(g.carried[start + i]) : A{0};
    const A grad =
        scale * (widen(g.dy[start + i]) * widen(g.weight[i]) - widen(g.x[start + i]) * scale * mean);
    g.dx[start + i] = narrow<T>(carried + grad);
    if (g.carried_copy) g.carried_copy[start + i] = narrow<T>(carried);
  }
}

template <class T>
struct WeightGradTerm {
  NormGradArgs<T> g;
  std::int64_t n;
  __device__ Accumulate<T> operator()(std::int64_t row, std::int64_t col) const {
    return widen(g.dy[row * n + col]) * (widen(g.x[row * n + col]) * g.rstd[row]);
  }
};

}  // namespace

template <class T>
void norm_any_width(const T* x, const T* weight, Accumulate<T> eps, T* y, Accumulate<T>* rstd,
                    std::int64_t rows, std::int64_t n, Stream stream) {
  forward_kernel<T><<<grid_of(rows), kThreads, 0, stream>>>(x, weight, eps, y, rstd, n);
}

// The weight's gradient first: dx and carried_copy may lie where dy and x are.
template <class T>
void norm_grad_any_width(const NormGradArgs<T>& args, Accumulate<T>* partials, std::int64_t rows,
                         std::int64_t n, Stream stream) {
  column_partials<Accumulate<T>>(WeightGradTerm<T>{args, n}, rows, n, partials, stream);
  input_grad_kernel<T><<<grid_of(rows), kThreads, 0, stream>>>(args, n);
  check_launch("rms_norm_backward");
}

#define LACUNA_NORM_ANY(T)                                                                                 \
  template void norm_any_width<T>(const T*, const T*, Accumulate<T>, T*, Accumulate<T>*, std::int64_t,     \
                                  std::int64_t, Stream);                                                   \
  template void norm_grad_any_width<T>(const NormGradArgs<T>&, Accumulate<T>*, std::int64_t, std::int64_t, \
                                       Stream);
LACUNA_NORM_ANY(double)
LACUNA_NORM_ANY(float)
LACUNA_NORM_ANY(Bf16)
#undef LACUNA_NORM_ANY

}  // namespace lacuna::cuda
