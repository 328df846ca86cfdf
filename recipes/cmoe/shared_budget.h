// How many of an FFN's parts are shared in each layer: as many in all as --shared says, where they save most.
// With the same number of experts and of active ones in every layer, a shared part more in one layer and less
// in another leaves the number of active neurons as it is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lacuna {

// What a layer costs with 0, 1, … shared parts, of neurons[0], neurons[1], … neurons: the scores [neurons]
// F64 of those that are not shared, added up. Infinite where `guarded` neurons have less room than they need
// and less than in `equal` parts, which every layer may have.
std::vector<double> shared_loss(const at::Tensor& scores, const std::vector<std::int64_t>& neurons,
                                std::int64_t guarded, std::int64_t equal);

// loss[layer][parts]: what a layer with so many shared parts costs, infinite where it cannot have them; the
// layers' costs add up. Returns the counts of least cost among all that sum to `total`, exactly (by dynamic
// programming, O(layers · total · parts)); among equals the earlier layer has more. Error(Internal) when none
// sum to it.
std::vector<std::int64_t> spread_shared(const std::vector<std::vector<double>>& loss, std::int64_t total);

}  // namespace lacuna
