// sparsity.json beside exported weights: what config.json of Hugging Face cannot say about a sparse model.
//
//   {"version": 1, "activation": "drelu",
//    "measured": {"tokens": 128, "ffn_sparsity": 0.91, "ffn_sparsity_per_layer": [0.92, 0.90]},
//    "tensors": [{"name": "model.layers.{layer}.mlp.up_down.weight", "shape": [384, 2, 128],
//                 "rows": "row i of up, then column i of down"}],
//    "routed": {"file": "sparsity.tensors", "experts": 5, "active": [2], "shared_neurons": [141],
//               "expert_neurons": [], "align": 1, "router": "linear", "router_rank": 0, "threshold": false,
//               "seed": 0}}
//
// "routed" stands beside a routed FFN (src/arch/routed_ffn.h); lists have one entry, or one for each layer.
// The tensors of the routers lie in a file of their own in the format of safetensors, whose name no other
// loader picks up: the folder without it is the dense model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/arch/model_config.h"

namespace lacuna {

struct SparsityInfo {
  Activation activation = Activation::Silu;
  std::int64_t tokens = 0;        // that the zeros were measured on; 0: not measured
  double ffn_sparsity = 0;        // share of exact zeros of the FFN product, over all layers
  std::vector<double> per_layer;  // the same for each layer; empty when not measured
  bool operator==(const SparsityInfo&) const = default;
};

std::string write_sparsity(const SparsityInfo& info, const ModelConfig& config, bool bundled);

// The name of the file with the routers' tensors.
inline constexpr const char* kRoutedTensors = "sparsity.tensors";

// The "routed" part of a sparsity.json, for a model of this many layers and neurons; none where the FFN is
// dense. Error(BadInput) on a part that is missing, unknown or does not fit.
std::optional<RoutedFfn> read_routed(const std::string& text, const ModelConfig& config,
                                     const std::string& where);

// Error(BadInput): another version, an activation or a number of layers that is not `config`'s, values
// outside [0, 1], another routed FFN.
SparsityInfo read_sparsity(const std::string& text, const ModelConfig& config, const std::string& where);

}  // namespace lacuna
