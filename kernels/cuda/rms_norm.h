// RMSNorm for training (arXiv 1910.07467): y = x · rstd · w, rstd = 1/sqrt(mean(x²) + eps), row by row, and
// its gradients. Statistics and sums are in the accumulation type A (double for F64, else float); their order
// depends on the shape alone.
//
// Pointers are device memory of the caller, contiguous, aligned to 16 bytes. dtype: F64, F32 or BF16.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// x, y [rows, n] and weight [n] of dtype; y may be x. rstd [rows] of A is written.
void rms_norm(DType dtype, const void* x, const void* weight, double eps, void* y, void* rstd,
              std::int64_t rows, std::int64_t n, Stream stream);

struct RmsNormGrad {
  const void* dy = nullptr;       // [rows, n]
  const void* x = nullptr;        // [rows, n], the input of the forward pass
  const void* rstd = nullptr;     // [rows] of A
  const void* weight = nullptr;   // [n]
  const void* carried = nullptr;  // [rows, n] or null (zero)
  void* dx = nullptr;             // [rows, n] = carried + the gradient for x; may be dy, carried or x
  // [rows, n] or null: receives a copy of `carried`; may be x. Saves a pass over memory where the stash keeps
  // the gradient of the residual stream in the place of its value.
  void* carried_copy = nullptr;
  void* weight_grad = nullptr;  // [n] of A; the gradient is added
  void* workspace = nullptr;    // rms_norm_backward_workspace bytes, contents do not matter
};

std::size_t rms_norm_backward_workspace(DType dtype, std::int64_t rows, std::int64_t n);
void rms_norm_backward(DType dtype, const RmsNormGrad& grad, std::int64_t rows, std::int64_t n,
                       Stream stream);

}  // namespace lacuna::cuda
