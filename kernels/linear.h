// y[t][r] = sum over k of w[r][k]·x[t][k], for the rows r of `runs`: a matrix times one or many tokens.
// The sum of one output always runs in the same order (16 lanes, ascending k, one tree), whatever the number
// of tokens or rows in a call: prefill, decode, any cut over threads give equal bits.
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"
#include "kernels/scratch.h"

namespace lacuna {

// x.width == w.cols, y.width == w.rows, x.count == y.count (tokens). Outputs outside the runs stay untouched.
// Error(Internal) on shapes that do not fit.
void linear(const MatrixView& w, Runs runs, ConstRows x, Rows y, Scratch& scratch, Isa isa = best_isa());

void linear_ref(const MatrixView& w, Runs runs, const double* x, std::int64_t tokens, double* y);

}  // namespace lacuna
