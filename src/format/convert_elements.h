// Arrays of one floating type as another. Equal types are copied bit for bit; a narrower type is rounded to
// nearest even from the exact source value (by way of float for the 16-bit types).
#pragma once

#include <cstdint>

#include "src/base/dtype.h"

namespace lacuna {

// F64, F32, BF16, F16 only (Error(Internal) otherwise). The arrays do not overlap.
void convert_elements(const void* src, DType from, void* dst, DType to, std::int64_t count);

}  // namespace lacuna
