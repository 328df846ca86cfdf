// sparsity.json beside exported weights: what config.json of Hugging Face cannot say about a sparse model.
//
//   {"version": 1, "activation": "drelu",
//    "measured": {"tokens": 128, "ffn_sparsity": 0.91, "ffn_sparsity_per_layer": [0.92, 0.90]},
//    "tensors": [{"name": "model.layers.{layer}.mlp.up_down.weight", "shape": [384, 2, 128],
//                 "rows": "row i of up, then column i of down"}]}
#pragma once

#include <cstdint>
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

// Error(BadInput): another version, an activation or a number of layers that is not `config`'s, values
// outside [0, 1].
SparsityInfo read_sparsity(const std::string& text, const ModelConfig& config, const std::string& where);

}  // namespace lacuna
