// Conversion among the floating element types, each value rounded once, to nearest even.
#pragma once

#include <cstddef>

#include "src/base/dtype.h"

namespace lacuna {

bool is_floating(DType dtype);

// Equal types are copied as they are, whatever they are. Different ones must both be floating:
// Error(BadInput).
void convert_elements(const void* source, DType from, void* target, DType to, std::size_t count);

}  // namespace lacuna
