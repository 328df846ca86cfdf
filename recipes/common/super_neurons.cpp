#include "recipes/common/super_neurons.h"

#include <algorithm>
#include <cstddef>

namespace lacuna {

std::vector<std::vector<std::int32_t>> super_neurons(const std::vector<std::vector<double>>& peaks) {
  std::vector<std::vector<std::int32_t>> out(peaks.size());
  std::vector<double> all;
  const std::size_t counted = std::max<std::size_t>(1, peaks.size() * 3 / 4);
  for (std::size_t layer = 0; layer < std::min(counted, peaks.size()); ++layer)
    all.insert(all.end(), peaks[layer].begin(), peaks[layer].end());
  if (all.empty()) return out;
  // The smallest value that at least 99.5 % of all do not exceed.
  const std::size_t place = (all.size() * 995 + 999) / 1000 - 1;
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(place), all.end());
  const double percentile = all[place], greatest = *std::max_element(all.begin(), all.end());
  for (std::size_t layer = 0; layer < peaks.size(); ++layer)
    for (std::size_t i = 0; i < peaks[layer].size(); ++i)
      if (peaks[layer][i] > percentile && peaks[layer][i] > greatest / 10)
        out[layer].push_back(static_cast<std::int32_t>(i));
  return out;
}

}  // namespace lacuna
