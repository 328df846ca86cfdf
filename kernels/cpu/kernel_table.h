// What each instruction set implements: the inner loops. Blocking, runs and shape checks are common code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"
#include "src/base/dtype.h"

namespace lacuna::cpu {

struct KernelTable {
  // out[i] = float(source[i]), source of `dtype` (F64 rounds to nearest).
  void (*unpack)(DType dtype, const std::byte* source, float* out, std::int64_t count);
  // y[r] = w_r · x for `rows` row pointers of `dtype`.
  void (*dot_rows)(DType dtype, const std::byte* const* w, std::int64_t rows, const float* x, std::int64_t k,
                   float* y);
  // y[t·y_stride + r] = w_r · x_t for rows of F32.
  void (*dot_block)(const std::byte* const* w, std::int64_t rows, const float* x, std::int64_t x_stride,
                    std::int64_t tokens, std::int64_t k, float* y, std::int64_t y_stride);
  // y[j] += sum over r of a[r]·w_r[j], r ascending.
  void (*axpy_rows)(DType dtype, const std::byte* const* w, const float* a, std::int64_t rows, float* y,
                    std::int64_t cols);
  // y[t][j] += sum over r of a[t·a_stride + index[r]]·w[r·w_stride + j], r ascending.
  void (*axpy_block)(const float* w, std::int64_t w_stride, const std::int32_t* index, std::int64_t rows,
                     const float* a, std::int64_t a_stride, std::int64_t tokens, float* y,
                     std::int64_t y_stride, std::int64_t cols);
  // y = x·(1/sqrt(mean(x²) + eps))·weight.
  void (*rmsnorm_row)(const float* x, const float* weight, float eps, float* y, std::int64_t width);
  // product = act(gate)·up, returns the exact zeros; gating 0 silu, 1 relu, 2 dReLU.
  std::int64_t (*glu_row)(int gating, const float* gate, const float* up, float* product, std::int64_t count);
  void (*softmax_row)(float* scores, std::int64_t count, float scale);
};

extern const KernelTable kScalarTable, kAvx2Table, kAvx512Table;
const KernelTable& table_of(Isa isa);

}  // namespace lacuna::cpu
