// Random weights made where they are used; the values are those of src/infer/random_model.h.
#pragma once

#include "kernels/cuda/decode_launch.h"

namespace lacuna::cuda {

// Element (r, c) is draw r·cols + c, or c·rows + r when `transposed`, uniform in ±half_width, rounded to the
// matrix's type.
void decode_fill(const DecodeMatrix& matrix, std::uint64_t key, float half_width, bool transposed,
                 Stream stream);
// Column `column` becomes values[r]·scale, or scale where values is null.
void decode_fill_column(const DecodeMatrix& matrix, std::int64_t column, const float* values, float scale,
                        Stream stream);

}  // namespace lacuna::cuda
