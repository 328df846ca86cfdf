// Matrix products of linear layers, weights [out, in]. Everything is written into memory of the caller.
#pragma once

#include <ATen/core/Tensor.h>

#include "optim/local_parameter.h"

namespace lacuna {

// y = x·Wᵀ (+ bias, unless undefined). x [tokens, in], y [tokens, out].
void linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y);

// y = residual + x·Wᵀ; y may be residual.
void linear_add(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& y);

// dx = dy·W, or dx += dy·W.
void linear_input_grad(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx);
void linear_input_grad_add(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& dx);

// grad += dyᵀ·x in the accumulation type; bf16 operands are widened to float. A stale gradient is written
// instead.
void linear_weight_grad(const at::Tensor& dy, const at::Tensor& x, LocalParameter& weight);

// grad += the sum of dy over tokens.
void bias_grad(const at::Tensor& dy, const at::Tensor& grad);

}  // namespace lacuna
