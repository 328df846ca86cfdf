// A dense model rewritten as a routed one: the order of each layer's neurons, and the tensors that the routed
// FFN has beside the dense one's (src/arch/routed_ffn.h). No weight changes; with all experts on the function
// is the parent's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "recipes/common/router_fit.h"
#include "src/train/snapshot.h"

namespace lacuna {

// How good the choice of experts is, on tokens that nothing was fitted to.
struct RoutingQuality {
  double agreement = 0;                               // share of tokens whose set of experts is the oracle's
  double chance = 0;                                  // of that for a random choice
  double lost = 0, lost_oracle = 0, lost_random = 0;  // Σ c_e² of what is off, over Σ c_e² of all
  double active = 0;                                  // experts a token, in the mean
  double load = 0;                                    // of the busiest expert, over the mean
};

struct CarvedLayer {
  std::vector<std::int32_t> order;  // the parent's neuron at each place of the child
  Router router;                    // F64, CPU
  at::Tensor stand_ins;             // "experts.mean" [experts, hidden] F64, CPU; undefined: zeros
  RoutingQuality quality;

  std::vector<std::byte> to_bytes() const;
  static CarvedLayer from_bytes(const std::vector<std::byte>& bytes);
};

struct CarvedModel {
  ModelConfig config;
  std::map<int, CarvedLayer> layers;  // at least those of this rank's stage
};

// The child's weights as a function of the parent's. A layer that is not in the model keeps the parent's
// order and has zeros for what the parent lacks.
SlabSource carved_weights(SlabSource parent, std::shared_ptr<const CarvedModel> model);
// The same of the parent's tensors that lie ready (src/train/snapshot.h), on their device. A layer's order
// needs all neurons of a matrix, so with tensor parallelism an FFN's matrices do not lie ready.
TensorSource carved_tensors(TensorSource parent, std::shared_ptr<const CarvedModel> model);

}  // namespace lacuna
