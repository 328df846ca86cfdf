#include "kernels/attention.h"

#include <vector>

#include "kernels/softmax.h"

namespace lacuna {

void attention_head_ref(const double* query, std::int64_t queries, std::int64_t head_dim,
                        std::int64_t first_position, const double* keys, const double* values,
                        std::int64_t window, double scale, double* context) {
  for (std::int64_t t = 0; t < queries; ++t) {
    const std::int64_t last = first_position + t;
    const std::int64_t first = window > 0 && last + 1 > window ? last + 1 - window : 0;
    std::vector<double> scores;
    for (std::int64_t p = first; p <= last; ++p) {
      double score = 0;
      for (std::int64_t d = 0; d < head_dim; ++d) score += query[t * head_dim + d] * keys[p * head_dim + d];
      scores.push_back(score);
    }
    softmax_ref(scores.data(), last - first + 1, scale);
    for (std::int64_t d = 0; d < head_dim; ++d) {
      double sum = 0;
      for (std::int64_t p = first; p <= last; ++p)
        sum += scores[static_cast<std::size_t>(p - first)] * values[p * head_dim + d];
      context[t * head_dim + d] = sum;
    }
  }
}

}  // namespace lacuna
