// The gated FFN's element-wise middle: product = act(gate)·up with act = silu or relu, or
// relu(gate)·relu(up) for dReLU (arXiv 2406.05955, eq. 2). Zeros are exact zeros of the stored product.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "src/arch/model_config.h"

namespace lacuna {

struct ProductCounts {
  std::int64_t zeros = 0, elements = 0;
  double l1 = 0;  // sum of |product|
};

// gate, up, product [tokens, neurons] in the compute type; `scratch` of the same shape in the accumulation
// type (used by silu). A NaN in gate or up never becomes a zero.
ProductCounts glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                          const at::Tensor& product, const at::Tensor& scratch);

// Replaces gate and up by their gradients, given the product's gradient, to which l1·sign(product) is added.
void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, double l1,
                  const at::Tensor& scratch);

}  // namespace lacuna
