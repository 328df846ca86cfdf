#include "kernels/accumulate.h"

namespace lacuna {

void accumulate_rows_ref(const MatrixView& w, Runs runs, const double* a, std::int64_t tokens, double* y) {
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t j = 0; j < w.cols; ++j) {
      double sum = 0;
      for (const ActiveRun& run : runs)
        for (std::int64_t i = run.start; i < run.start + run.length; ++i)
          sum += a[t * w.rows + i] * load_as_double(w.row(i), w.dtype, static_cast<std::size_t>(j));
      y[t * w.cols + j] = sum;
    }
}

}  // namespace lacuna
