// y[t][j] = sum over the rows i of `runs`, ascending, of a[t][i]·w[i][j]: the down projection by neurons.
// One chain of fused multiply-adds per output, so a coefficient that is exactly zero changes nothing:
// leaving its row out gives the same bits.
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"
#include "kernels/scratch.h"

namespace lacuna {

// Writes columns [begin, end) of y (y.width == w.cols); a.width == w.rows; a.count == y.count. Rows outside
// the runs are not read, neither in w nor in a. No rows: zeros. Error(Internal) on shapes that do not fit.
void accumulate_rows(const MatrixView& w, Runs runs, ConstRows a, Rows y, std::int64_t begin,
                     std::int64_t end, Scratch& scratch, Isa isa = best_isa());

// The whole width; y is [tokens, w.cols], a is [tokens, w.rows].
void accumulate_rows_ref(const MatrixView& w, Runs runs, const double* a, std::int64_t tokens, double* y);

}  // namespace lacuna
