// Neurons whose output is so large on some token that switching them off breaks the model (Super Experts,
// arXiv 2507.23279, for one neuron instead of an expert): they make massive activations and attention sinks,
// so they are never routed and never pruned.
#pragma once

#include <cstdint>
#include <vector>

namespace lacuna {

// peaks[layer][neuron]: the largest output |h|·max|down| of each neuron on calibration tokens. A neuron is
// super where its peak is above the 99.5th percentile of all peaks and above a tenth of the greatest; both
// are taken over the first three quarters of the layers (at least one), as published, and applied to all.
std::vector<std::vector<std::int32_t>> super_neurons(const std::vector<std::vector<double>>& peaks);

}  // namespace lacuna
