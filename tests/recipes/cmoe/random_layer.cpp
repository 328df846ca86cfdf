#include "tests/recipes/cmoe/random_layer.h"

#include <ATen/ATen.h>

#include "src/base/rng.h"

namespace lacuna::test {

namespace {

at::Tensor random_matrix(std::int64_t rows, std::int64_t cols, const std::string& name) {
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  const std::uint64_t key = rng_key(23, name);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(rng_normal(key, static_cast<std::uint64_t>(i)));
  return out;
}

}  // namespace

LayerEvidence random_evidence(std::int64_t neurons, std::int64_t tokens) {
  LayerEvidence e;
  e.ffn = {random_matrix(neurons, 10, "gate"), random_matrix(neurons, 10, "up"),
           random_matrix(10, neurons, "down"), Activation::Silu};
  const at::Tensor x = random_matrix(tokens + 16, 10, "inputs");
  e.inputs = x.narrow(0, 0, tokens);
  e.check_inputs = x.narrow(0, tokens, 16);
  e.statistics = neuron_statistics(e.ffn, e.inputs, 3);
  return e;
}

RoutedLayer shape_of(std::int64_t shared, std::vector<std::int64_t> sizes, std::int64_t active) {
  RoutedLayer shape;
  shape.shared = shared;
  shape.active = active;
  shape.begin = {shared};
  for (const std::int64_t size : sizes) shape.begin.push_back(shape.begin.back() + size);
  return shape;
}

}  // namespace lacuna::test
