// One row of a weight matrix as floats (an embedding).
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"

namespace lacuna {

// out: w.cols floats. Error(Internal) when the row does not exist.
void unpack_row(const MatrixView& w, std::int64_t row, float* out, Isa isa = best_isa());

}  // namespace lacuna
