// One layer: which neurons are shared, which experts the others make, which router chooses, what stands in
// for what is off. Everything here is computed by one rank from the layer's whole weights and all calibration
// tokens, so it does not depend on the layout.
#pragma once

#include "recipes/cmoe/options.h"
#include "recipes/common/carved_model.h"
#include "recipes/common/neuron_statistics.h"

namespace lacuna {

// What one layer is carved from.
struct LayerEvidence {
  FfnWeights ffn;
  at::Tensor inputs, check_inputs;  // [tokens, hidden] F32; check_inputs: to measure on, may be empty
  NeuronStatistics statistics;      // of `inputs`
  at::Tensor output_moment;         // E[g gᵀ] for heapr; undefined where nobody asks for it
  std::vector<std::int32_t> super_neurons;
};

// The parent's neurons in the child's order: the `shape.shared` of the highest score (super neurons first
// when guarded), then the experts; each part ascending.
std::vector<std::int32_t> carve_order(const LayerEvidence& evidence, const RoutedLayer& shape,
                                      const CmoeOptions& options);

// Router and stand-ins for a given order.
CarvedLayer fit_experts(const LayerEvidence& evidence, const RoutedLayer& shape,
                        std::vector<std::int32_t> order, RouterKind kind, const CmoeOptions& options);

// Static pruning: the `shape.shared` neurons of the highest score, and the means of the others or nothing.
CarvedLayer prune_layer(const LayerEvidence& evidence, const RoutedLayer& shape, NeuronScore score,
                        bool compensate);

// The choice of a layer's router on the check inputs.
RoutingQuality measure_routing(const CarvedLayer& layer, const LayerEvidence& evidence,
                               const RoutedLayer& shape, bool threshold);

}  // namespace lacuna
