// Element-wise reductions over the buffers of several ranks, column sums, and copies between row layouts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

inline constexpr int kMaxParts = 64;

// Buffers of `count` ranks in ascending rank order; device memory that this device can read.
struct Parts {
  const void* data[kMaxParts] = {};
  int count = 0;
};

// out[i] = parts.data[0][i] + parts.data[1][i] + ... in this order. F64, F32, I64; BF16 is added in float and
// rounded once. out may be one of the parts.
void ordered_sum(DType dtype, const Parts& parts, void* out, std::int64_t elements, Stream stream);
// The largest, under the same conditions: for F64, F32, BF16 a NaN in any part gives NaN.
void ordered_max(DType dtype, const Parts& parts, void* out, std::int64_t elements, Stream stream);

std::size_t column_sums_workspace(DType dtype, std::int64_t rows, std::int64_t cols);
// sums [cols] of A += Σ over rows of x [rows, cols], `stride` elements from row to row. dtype: F64, F32 or
// BF16; A is double for F64, else float. The order depends on the shape alone. (The gradient of a bias.)
void column_sums(DType dtype, const void* x, std::int64_t stride, std::int64_t rows, std::int64_t cols,
                 void* sums, void* workspace, Stream stream);

// Rows of `row_bytes` bytes between memories with their own distance of rows in bytes. No overlap.
void copy_rows(const void* from, std::int64_t from_stride, void* to, std::int64_t to_stride,
               std::int64_t row_bytes, std::int64_t rows, Stream stream);

}  // namespace lacuna::cuda
