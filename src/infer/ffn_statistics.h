// What the FFNs of a model did over the tokens since the last clear.
#pragma once

#include <cstdint>
#include <vector>

namespace lacuna {

struct FfnStatistics {
  struct Layer {
    std::int64_t zeros = 0, elements = 0;     // exact zeros of the FFN product, over neurons and tokens
    std::int64_t up_rows = 0, down_rows = 0;  // weight rows read, once per step however many tokens it has
  };
  std::vector<Layer> layers;
  std::int64_t tokens = 0, steps = 0;

  double sparsity(std::size_t layer) const {
    return layers[layer].elements == 0
               ? 0
               : static_cast<double>(layers[layer].zeros) / static_cast<double>(layers[layer].elements);
  }
  // Over all layers.
  double sparsity() const {
    Layer all;
    for (const Layer& layer : layers) {
      all.zeros += layer.zeros;
      all.elements += layer.elements;
    }
    return all.elements == 0 ? 0 : static_cast<double>(all.zeros) / static_cast<double>(all.elements);
  }
};

}  // namespace lacuna
