// How many of an FFN's parts are shared in each layer: as many in all as --shared says, where they save most.
// With the same number of experts and of active ones in every layer, a shared part more in one layer and less
// in another leaves the number of active neurons as it is.
#pragma once

#include <cstdint>
#include <vector>

namespace lacuna {

// loss[layer][parts]: what a layer with so many shared parts costs, infinite where it cannot have them; the
// layers' costs add up. Returns the counts of least cost among all that sum to `total`, exactly (by dynamic
// programming, O(layers · total · parts)); among equals the earlier layer has more. Error(Internal) when none
// sum to it.
std::vector<std::int64_t> spread_shared(const std::vector<std::vector<double>>& loss, std::int64_t total);

}  // namespace lacuna
