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
  return [](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const std::vector<double>& whole = parent_tensors().at(name);
    const bool matrix = slab.extent.size() > 1;
    std::int64_t cols = 1;
    for (const Parameter& p : parameters(parent_model()))
      if (p.name == name && matrix) cols = p.shape[1];
    std::size_t to = 0;
    for (std::int64_t r = 0; r < slab.extent[0]; ++r)
      for (std::int64_t c = 0; c < (matrix ? slab.extent[1] : 1); ++c) {
        const auto at =
            static_cast<std::size_t>((slab.offset[0] + r) * cols + (matrix ? slab.offset[1] : 0) + c);
        if (dtype == DType::F64)
          static_cast<double*>(dst)[to++] = whole[at];
        else
          static_cast<float*>(dst)[to++] = static_cast<float>(whole[at]);
      }
  };
}

}  // namespace lacuna::test
