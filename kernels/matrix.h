// Views that the kernels read and write: a weight matrix of any floating type, rows of floats, active runs.
// Nothing here owns memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/base/dtype.h"

namespace lacuna {

// Weights [rows, cols], row-major, `stride` elements from row to row (bundled tensors have stride > cols).
// dtype F32, BF16, F16 or F64; kernels compute in fp32: 16-bit values widen exactly, F64 values are rounded
// to fp32 as they are read. No alignment is assumed: the bytes may lie anywhere in a mapped file.
struct MatrixView {
  const std::byte* data = nullptr;
  DType dtype = DType::F32;
  std::int64_t rows = 0, cols = 0, stride = 0;
  const std::byte* row(std::int64_t index) const {
    return data + static_cast<std::size_t>(index * stride) * size_of(dtype);
  }
};

// Activations [count, width] of floats, `stride` floats from row to row.
struct ConstRows {
  const float* data = nullptr;
  std::int64_t count = 0, width = 0, stride = 0;
  const float* row(std::int64_t index) const { return data + index * stride; }
};
struct Rows {
  float* data = nullptr;
  std::int64_t count = 0, width = 0, stride = 0;
  float* row(std::int64_t index) const { return data + index * stride; }
  operator ConstRows() const { return {data, count, width, stride}; }
};

// Consecutive neurons (rows of a weight) that take part. Lists of runs ascend and do not overlap.
struct ActiveRun {
  std::int32_t start = 0, length = 0;
  bool operator==(const ActiveRun&) const = default;
};
using Runs = std::span<const ActiveRun>;

}  // namespace lacuna
