// The gated FFN's element-wise middle for training: product = silu(gate)·up, relu(gate)·up or
// relu(gate)·relu(up) (dReLU, arXiv 2406.05955, eq. 2), with exact zero counts and Σ|product|, and its
// gradient. relu(x) is +0 for x <= 0 and x otherwise, so a NaN never becomes a zero.
//
// Pointers are device memory of the caller, aligned to 16 bytes. dtype: F64, F32 or BF16; arithmetic in
// double for F64, else float.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/glu.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// Counters in device memory; the caller clears them. elements are known to the host.
struct ProductSums {
  unsigned long long zeros = 0;  // exact zeros of the stored product
  double l1 = 0;                 // Σ |stored product|
};

// gate and up are [rows, cols] with a row stride in elements, so that both may lie in one [rows, 2·cols]
// product of a joined projection; product and product_grad are contiguous [rows, cols].
struct GluShape {
  Gating gating = Gating::Silu;
  DType dtype = DType::F32;
  std::int64_t rows = 0, cols = 0;
  std::int64_t gate_stride = 0, up_stride = 0;  // 0: cols
};

std::size_t glu_forward_workspace(const GluShape& shape);
// Writes product and adds to *sums (device). The order of the sum depends on the shape alone.
void glu_forward(const GluShape& shape, const void* gate, const void* up, void* product, ProductSums* sums,
                 void* workspace, Stream stream);

// Replaces gate and up by their gradients, given the product's gradient, to which l1·sign(product) is added.
// product may be null when l1 is 0.
void glu_backward(const GluShape& shape, void* gate, void* up, const void* product, const void* product_grad,
                  double l1, Stream stream);

}  // namespace lacuna::cuda
