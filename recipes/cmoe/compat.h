// CMoE as its published code has it: products
// of unit inputs and unit rows, K_a largest of each token, shared set and seeds by rate, one assignment by
// Hamming distance to the seeds, the member nearest to the cluster's mean as its router, unit gates, nothing
// for what is off. Ties: equal rates and equal distances to a mean go to the lower neuron; assignment.h has
// the rule for equal costs.
#pragma once

#include "recipes/cmoe/carve_layer.h"

namespace lacuna {

CarvedLayer carve_as_published(const LayerEvidence& evidence, const RoutedLayer& shape, std::int64_t top);

}  // namespace lacuna
