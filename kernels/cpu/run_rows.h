// Walks the rows of a list of runs in batches.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/matrix.h"

namespace lacuna::cpu {

// Calls batch(rows, count) with at most `limit` (<= Limit) ascending row numbers at a time.
template <int Limit, class Batch>
void each_batch(Runs runs, std::int64_t limit, Batch&& batch) {
  std::int32_t rows[Limit];
  std::int64_t count = 0;
  for (const ActiveRun& run : runs) {
    for (std::int32_t i = 0; i < run.length; ++i) {
      rows[count++] = run.start + i;
      if (count == limit) {
        batch(rows, count);
        count = 0;
      }
    }
  }
  if (count > 0) batch(rows, count);
}

// Runs ascend, do not overlap and end within `rows`.
inline bool runs_fit(Runs runs, std::int64_t rows) {
  std::int64_t at = 0;
  for (const ActiveRun& run : runs) {
    if (run.start < at || run.length < 0) return false;
    at = std::int64_t{run.start} + run.length;
  }
  return at <= rows;
}

inline bool is_weight_type(DType dtype) {
  return dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16 || dtype == DType::F64;
}

}  // namespace lacuna::cpu
