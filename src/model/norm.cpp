#include "src/model/norm.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "src/base/error.h"
#include "src/model/cuda/ops.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

template <class T, class A>
void forward_rows(const T* x, const T* weight, A eps, T* y, A* rstd, std::int64_t rows, std::int64_t n) {
  for (std::int64_t row = 0; row < rows; ++row, x += n, y += n) {
    const A squares =
        lane_sum<A>(n, [x](std::int64_t i) { return static_cast<A>(x[i]) * static_cast<A>(x[i]); });
    const A scale = A{1} / std::sqrt(squares / static_cast<A>(n) + eps);
    for (std::int64_t i = 0; i < n; ++i)
      y[i] = static_cast<T>(static_cast<A>(x[i]) * scale * static_cast<A>(weight[i]));
    rstd[row] = scale;
  }
}

// With x̂ = x·rstd and g = dy·w: dx = rstd · (g − x̂ · mean(g·x̂)), dw = Σ_rows dy·x̂.
template <class T, class A>
void backward_rows(const T* dy, const T* x, const A* rstd, const T* weight, const T* carried, T* dx,
                   A* weight_sum, std::int64_t rows, std::int64_t n) {
  for (std::int64_t row = 0; row < rows; ++row, x += n, dy += n, dx += n) {
    const A scale = rstd[row];
    const A mean = lane_sum<A>(n,
                               [=](std::int64_t i) {
                                 return static_cast<A>(dy[i]) * static_cast<A>(weight[i]) *
                                        (static_cast<A>(x[i]) * scale);
                               }) /
                   static_cast<A>(n);
    for (std::int64_t i = 0; i < n; ++i)
      weight_sum[i] += static_cast<A>(dy[i]) * (static_cast<A>(x[i]) * scale);
    const auto at_index = [=](std::int64_t i) {
      return scale *
             (static_cast<A>(dy[i]) * static_cast<A>(weight[i]) - static_cast<A>(x[i]) * scale * mean);
    };
    if (carried) {
      for (std::int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(static_cast<A>(carried[i]) + at_index(i));
      carried += n;
    } else {
      for (std::int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(at_index(i));
    }
  }
}

}  // namespace

void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
              const at::Tensor& rstd) {
  if (x.is_cuda()) return on_cuda::rms_norm(x, weight, eps, y, rstd);
  const std::int64_t n = weight.numel(), rows = x.numel() / n;
  with_element_type(x.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    forward_rows(x.const_data_ptr<T>(), weight.const_data_ptr<T>(), static_cast<A>(eps), y.data_ptr<T>(),
                 rstd.data_ptr<A>(), rows, n);
  });
}

void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd,
                       const at::Tensor& weight, const at::Tensor& carried, const at::Tensor& dx,
                       const at::Tensor& weight_grad, const at::Tensor& carried_copy) {
  if (x.is_cuda())
    return on_cuda::rms_norm_backward(dy, x, rstd, weight, carried, dx, weight_grad, carried_copy);
  LACUNA_ASSERT(!carried_copy.defined() || carried.const_data_ptr() != dx.const_data_ptr());
  const std::int64_t n = weight.numel(), rows = x.numel() / n;
  with_element_type(x.scalar_type(), [&]<class T>(T) {
    using A = Accumulate<T>;
    std::vector<A> weight_sum(static_cast<std::size_t>(n));
    backward_rows(dy.const_data_ptr<T>(), x.const_data_ptr<T>(), rstd.const_data_ptr<A>(),
                  weight.const_data_ptr<T>(), carried.defined() ? carried.const_data_ptr<T>() : nullptr,
                  dx.data_ptr<T>(), weight_sum.data(), rows, n);
    if (!weight_grad.defined()) return;
    A* grad = weight_grad.data_ptr<A>();
    for (std::int64_t i = 0; i < n; ++i) grad[i] += weight_sum[static_cast<std::size_t>(i)];
  });
  if (carried_copy.defined()) carried_copy.copy_(carried);
}

}  // namespace lacuna
