// The gated FFN's element-wise middle: product = act(gate)·up with act = silu or relu, or
// relu(gate)·relu(up) for dReLU (arXiv 2406.05955, eq. 2). Zeros are exact zeros of the stored product.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "src/arch/model_config.h"

namespace lacuna {

// What the products of a layer add up to. On a CUDA device zeros and l1 stay there until somebody asks:
// `device` holds 32 bytes, zeros (integer) and l1 of the kernels' counts, zeros and l1 (doubles) of what
// add() was given. Undefined there: not counted.
struct ProductCounts {
  std::int64_t zeros = 0, elements = 0;
  double l1 = 0;  // sum of |product|
  at::Tensor device;
  void add(const at::Tensor& zeros_and_l1, std::int64_t count);  // [2] doubles
  void add_fetched(const double* device_values);                 // the 32 bytes, on the host
};

// gate, up, product [tokens, neurons] in the compute type; `scratch` of the same shape in the accumulation
// type (used by silu on the CPU). A NaN in gate or up never becomes a zero. Adds to `tally`.
void glu_forward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                 const at::Tensor& product, const at::Tensor& scratch, ProductCounts& tally);

// A price for products that are not zero: weight·Σ|product|, or with a knee k > 0 weight·Σ k·log(1 +
// |product|/k) (the log-sum penalty of Candès, Wakin and Boyd 2008), which leaves products well above k
// alone.
struct Penalty {
  double weight = 0, knee = 0;
};
// Its gradient, in the accumulation type: weight·sign(product), times k / (k + |product|) with a knee.
at::Tensor penalty_grad(const at::Tensor& product, const Penalty& penalty);

// Replaces gate and up by their gradients, given the product's gradient, to which the penalty's is added
// (with a knee, in place).
void glu_backward(Activation activation, const at::Tensor& gate, const at::Tensor& up,
                  const at::Tensor& product, const at::Tensor& product_grad, const Penalty& penalty,
                  const at::Tensor& scratch);

}  // namespace lacuna
