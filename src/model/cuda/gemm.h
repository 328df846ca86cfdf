// Row-major matrix products through cuBLASLt, written where the caller says: out = alpha·op(a)·op(b) + add.
// Sums run in fp32 (fp64 for fp64), TF32 is never used. In the deterministic mode the algorithm depends on
// the shapes and types alone, so that a product has the same bits wherever its operands lie and in every run;
// otherwise the fastest of cuBLASLt's first suggestions is taken, measured at a shape's first product.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

namespace lacuna::on_cuda {

struct Gemm {
  std::int64_t rows = 0, cols = 0, depth = 0;  // of the product
  const void* a = nullptr;                     // [rows, depth], or [depth, rows] with a_transposed
  const void* b = nullptr;                     // [depth, cols], or [cols, depth] with b_transposed
  bool a_transposed = false, b_transposed = false;
  void* out = nullptr;        // [rows, cols]
  const void* add = nullptr;  // [rows, cols] of out's type, may be out; null: nothing
  at::ScalarType in = at::kFloat, result = at::kFloat;  // of a and b; of out and add
};

// On the current stream. Error(Internal) when cuBLASLt has no algorithm.
void gemm(const Gemm& product);

}  // namespace lacuna::on_cuda
