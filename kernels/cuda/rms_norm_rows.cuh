// RMSNorm for rows of any width, shared between rms_norm.cu and rms_norm_any.cu: one block a row, plain
// loops.
#pragma once

#include <cstdint>

#include "kernels/cuda/elements.cuh"

namespace lacuna::cuda {

// As RmsNormGrad, typed.
template <class T>
struct NormGradArgs {
  const T* dy;
  const T* x;
  const Accumulate<T>* rstd;
  const T* weight;
  const T* carried;
  T* dx;
  T* carried_copy;
};

template <class T>
void norm_any_width(const T* x, const T* weight, Accumulate<T> eps, T* y, Accumulate<T>* rstd,
                    std::int64_t rows, std::int64_t n, Stream stream);
// Leaves column_parts(rows) partial sums of the weight's gradient in `partials`.
template <class T>
void norm_grad_any_width(const NormGradArgs<T>& args, Accumulate<T>* partials, std::int64_t rows,
                         std::int64_t n, Stream stream);

}  // namespace lacuna::cuda
