// cuBLAS for steps of many tokens. The library is loaded when the first one comes, so that the program starts
// without it and a single token never needs it.
#pragma once

#include <memory>

#include "kernels/cuda/decode_rows.h"

namespace lacuna {

class Blas {
 public:
  // Error(Usage) that names every place that was looked at when there is no libcublas.
  explicit Blas(cuda::Stream stream);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // y[t][r] = sum over k of weight[r][k]·x[t][k], or y += with `add`; sums in fp32. y: [x.count][y_stride].
  void multiply(const cuda::DecodeMatrix& weight, const cuda::ProductRows& x, float* y, std::int64_t y_stride,
                bool add);
  // The same with the rows of `weight` added up: y[t][c] = sum over r of x[t][r]·weight[r][c].
  void multiply_rows(const cuda::DecodeMatrix& weight, const cuda::ProductRows& x, float* y,
                     std::int64_t y_stride, bool add);

 private:
  struct Library;
  std::unique_ptr<Library> library_;  // its functions; the library itself stays loaded
  void* handle_ = nullptr;
};

}  // namespace lacuna
