#include "kernels/softmax.h"

#include <algorithm>
#include <cmath>

namespace lacuna {

void softmax_ref(double* scores, std::int64_t count, double scale) {
  if (count == 0) return;
  const double top = *std::max_element(scores, scores + count);
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += scores[i] = std::exp(scale * (scores[i] - top));
  for (std::int64_t i = 0; i < count; ++i) scores[i] /= total;
}

}  // namespace lacuna
