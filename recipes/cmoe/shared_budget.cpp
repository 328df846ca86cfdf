#include "recipes/cmoe/shared_budget.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "src/base/error.h"

namespace lacuna {

std::vector<double> shared_loss(const at::Tensor& scores, const std::vector<std::int64_t>& neurons,
                                std::int64_t guarded, std::int64_t equal) {
  const at::Tensor ascending = std::get<0>(scores.sort());
  std::vector<double> out;
  for (std::int64_t parts = 0; parts < std::ssize(neurons); ++parts) {
    const std::int64_t shared = neurons[static_cast<std::size_t>(parts)];
    const bool room = parts >= equal || shared >= guarded;
    out.push_back(room ? ascending.narrow(0, 0, scores.numel() - shared).sum().item<double>()
                       : std::numeric_limits<double>::infinity());
  }
  return out;
}

std::vector<std::int64_t> spread_shared(const std::vector<std::vector<double>>& loss, std::int64_t total) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const std::size_t layers = loss.size(), parts = static_cast<std::size_t>(total);
  // least[l][n]: of the layers from l on, with n parts among them.
  std::vector<std::vector<double>> least(layers + 1, std::vector<double>(parts + 1, kNone));
  least[layers][0] = 0;
  for (std::size_t layer = layers; layer-- > 0;)
    for (std::size_t n = 0; n <= parts; ++n)
      for (std::size_t k = 0; k < loss[layer].size() && k <= n; ++k)
        if (const double cost = loss[layer][k] + least[layer + 1][n - k]; cost < least[layer][n])
          least[layer][n] = cost;
  LACUNA_CHECK(least[0][parts] < kNone, ErrorKind::Internal, "{} shared parts do not fit {} layers", total,
               layers);
  std::vector<std::int64_t> out;
  std::size_t left = parts;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    std::size_t k = std::min(loss[layer].size() - 1, left);
    while (loss[layer][k] + least[layer + 1][left - k] != least[layer][left]) --k;
    out.push_back(static_cast<std::int64_t>(k));
    left -= k;
  }
  return out;
}

}  // namespace lacuna
