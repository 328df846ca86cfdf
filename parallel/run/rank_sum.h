// Element-wise sums and maxima over the parts of several ranks, always in ascending rank order, so that every
// implementation of a reduction gives equal bits.
#pragma once

#include <cstddef>
#include <span>

#include "src/base/dtype.h"

namespace lacuna {

enum class Reduction : std::uint8_t { Sum, Max };

// out[i] = ((parts[0][i] + parts[1][i]) + parts[2][i]) + ..., or the maximum, where a NaN wins. BF16 is added
// in float and rounded once; I64 wraps. `out` may be one of the parts. F64, F32, BF16, I64; Error(Internal)
// for other types.
void reduce_in_order(Reduction reduction, std::span<const void* const> parts, std::size_t count, DType dtype,
                     void* out);

}  // namespace lacuna
