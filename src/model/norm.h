// RMSNorm (arXiv 1910.07467): y = x · rstd · w with rstd = 1/sqrt(mean(x²) + eps), row by row. Statistics and
// sums in the accumulation type. All tensors contiguous; n is the size of `weight`.
#pragma once

#include <ATen/core/Tensor.h>

namespace lacuna {

// x, y [rows, n] in the compute type (y may be x); rstd [rows] in the accumulation type is written.
void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
              const at::Tensor& rstd);

// dx = carried + the gradient that dy has for x; the weight's gradient is ADDED to weight_grad (accumulation
// type), unless that is undefined. `carried` may be undefined (zero). dx may be dy or carried.
// `carried_copy`, unless undefined, receives a copy of carried at the end; it may be x.
void rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& rstd,
                       const at::Tensor& weight, const at::Tensor& carried, const at::Tensor& dx,
                       const at::Tensor& weight_grad, const at::Tensor& carried_copy = {});

}  // namespace lacuna
