#include "src/infer/route_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lacuna {

double route_doubt(const std::vector<float>& keys, const std::vector<double>& deviations,
                   std::span<const std::uint8_t> on, bool threshold) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto share = [](double by, double deviation) {
    return by <= 0 ? 0 : deviation > 0 ? by / deviation : kNever;
  };
  double worst = 0;
  for (std::size_t e = 0; e < on.size(); ++e) {
    const double key = keys[e];
    if (threshold) {
      worst = std::max(worst, share(on[e] ? -key : key, deviations[e]));
      continue;
    }
    for (std::size_t off = 0; off < on.size(); ++off)
      if (on[e] && !on[off])
        worst = std::max(worst, share(keys[off] - key, std::hypot(deviations[e], deviations[off])));
  }
  return std::any_of(keys.begin(), keys.end(), [](float key) { return std::isnan(key); }) ? kNever : worst;
}

}  // namespace lacuna
