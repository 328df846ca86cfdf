#include "src/model/linear.h"

#include <ATen/ATen.h>

namespace lacuna {

void linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y) {
  at::Tensor out = y;
  if (bias.defined())
    at::addmm_out(out, bias, x, weight.t());
  else
    at::mm_out(out, x, weight.t());
}

void linear_add(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& y) {
  at::Tensor out = y;
  at::addmm_out(out, residual, x, weight.t());
}

void linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx) {
  at::Tensor out = dx;
  at::mm_out(out, dy, weight);
}

void linear_input_grad_add(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx) {
  dx.addmm_(dy, weight);
}

void linear_weight_grad(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& grad) {
  const at::ScalarType type = grad.scalar_type();
  grad.addmm_(dy.to(type).t(), x.to(type));
}

void bias_grad(const at::Tensor& dy, const at::Tensor& grad) {
  grad.add_(dy.to(grad.scalar_type()).sum(0));
}

}  // namespace lacuna
