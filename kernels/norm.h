// RMSNorm (arXiv 1910.07467): y = x / sqrt(mean(x²) + eps) · weight, each row alone.
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"

namespace lacuna {

// weight: x.width floats. y may be x. Error(Internal) on shapes that do not fit.
void rmsnorm(ConstRows x, const float* weight, double eps, Rows y, Isa isa = best_isa());

void rmsnorm_ref(const double* x, std::int64_t rows, std::int64_t width, const double* weight, double eps,
                 double* y);

}  // namespace lacuna
