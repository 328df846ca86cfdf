#include "tests/recipes/small_parent.h"

namespace lacuna::test {

ModelConfig parent_model() {
  ModelConfig config = small_model();
  config.layers = 3;
  return config;
}

const GlobalTensors& parent_tensors() {
  static const GlobalTensors tensors = run_layout(small_options(1, 1, 1), 3, parent_model()).weights;
  return tensors;
}

SlabSource parent_source() {
  return weights_by_element(parent_model(), [](const Parameter& p, std::int64_t at) {
    return parent_tensors().at(p.name)[static_cast<std::size_t>(at)];
  });
}

}  // namespace lacuna::test
