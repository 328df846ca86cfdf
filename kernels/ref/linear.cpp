#include "kernels/linear.h"

namespace lacuna {

void linear_ref(const MatrixView& w, Runs runs, const double* x, std::int64_t tokens, double* y) {
  for (std::int64_t t = 0; t < tokens; ++t)
    for (const ActiveRun& run : runs)
      for (std::int64_t r = run.start; r < run.start + run.length; ++r) {
        double sum = 0;
        for (std::int64_t k = 0; k < w.cols; ++k)
          sum += load_as_double(w.row(r), w.dtype, static_cast<std::size_t>(k)) * x[t * w.cols + k];
        y[t * w.rows + r] = sum;
      }
}

}  // namespace lacuna
