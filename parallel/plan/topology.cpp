#include "parallel/plan/topology.h"

#include <numeric>

#include "src/base/error.h"

namespace lacuna {

std::vector<LayerRange> cut_layers(int layers, int stages, const std::vector<int>& cuts) {
  LACUNA_CHECK(stages >= 1, ErrorKind::Usage, "--pp {}: at least one pipeline stage", stages);
  LACUNA_CHECK(layers >= stages, ErrorKind::Usage,
               "--pp {}: the model has only {} layers, one a stage at most", stages, layers);
  std::vector<int> counts = cuts;
  if (counts.empty()) {
    counts.assign(static_cast<std::size_t>(stages), layers / stages);
    // The remainder is smaller than the number of stages, so the last one never gets a layer of it.
    for (int s = 0; s < layers % stages; ++s) ++counts[static_cast<std::size_t>(s)];
  }
  LACUNA_CHECK(static_cast<int>(counts.size()) == stages, ErrorKind::Usage,
               "layers per stage: {} numbers given for {} stages", counts.size(), stages);
  std::vector<LayerRange> ranges;
  int begin = 0;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    LACUNA_CHECK(counts[s] >= 1, ErrorKind::Usage, "layers per stage: stage {} has {}, wanted at least 1", s,
                 counts[s]);
    ranges.push_back({begin, begin + counts[s]});
    begin += counts[s];
  }
  LACUNA_CHECK(begin == layers, ErrorKind::Usage, "layers per stage: the numbers sum to {}, the model has {}",
               begin, layers);
  return ranges;
}

}  // namespace lacuna
