#include "kernels/norm.h"

#include <cmath>

namespace lacuna {

void rmsnorm_ref(const double* x, std::int64_t rows, std::int64_t width, const double* weight, double eps,
                 double* y) {
  for (std::int64_t t = 0; t < rows; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < width; ++i) squares += x[t * width + i] * x[t * width + i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (std::int64_t i = 0; i < width; ++i) y[t * width + i] = x[t * width + i] * scale * weight[i];
  }
}

}  // namespace lacuna
