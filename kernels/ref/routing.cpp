#include "kernels/routing.h"

#include <cmath>
#include <vector>

#include "kernels/softmax.h"

namespace lacuna {

double lowrank_score_ref(const double* a, const double* b, std::int64_t rank) {
  double a_squares = 0, b_squares = 0;
  for (std::int64_t k = 0; k < rank; ++k) {
    a_squares += a[k] * a[k];
    b_squares += b[k] * b[k];
  }
  return std::sqrt(a_squares) * std::sqrt(b_squares);
}

double neuron_score_ref(Gating gating, const double* a, const double* b, std::int64_t rank) {
  double sum = 0;
  for (std::int64_t k = 0; k < rank; ++k) sum += std::abs(glu_ref(gating, a[k], b[k]));
  return sum;
}

void routing_ref(const RoutingRef& routing, const double* scores, double* gates) {
  const std::int64_t experts = routing.experts;
  std::vector<double> share(scores, scores + experts);
  if (routing.scale != nullptr) softmax_ref(share.data(), experts, 1);
  const auto key = [&](std::int64_t e) {
    return scores[e] + (routing.bias != nullptr ? routing.bias[e] : 0);
  };
  const auto before = [&](std::int64_t a, std::int64_t b) {
    if (std::isnan(key(a)) != std::isnan(key(b))) return std::isnan(key(a));
    return key(a) > key(b) || (!(key(a) < key(b)) && a < b);
  };
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t ahead = 0;
    for (std::int64_t other = 0; other < experts; ++other) ahead += other != e && before(other, e);
    const bool on = routing.threshold ? key(e) > 0 : ahead < routing.active;
    gates[e] =
        !on ? 0 : 1 + (routing.scale != nullptr ? share[static_cast<std::size_t>(e)] * routing.scale[e] : 0);
  }
}

}  // namespace lacuna
