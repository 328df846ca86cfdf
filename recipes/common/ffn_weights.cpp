#include "recipes/common/ffn_weights.h"

#include <ATen/ATen.h>

namespace lacuna {

namespace {

at::Tensor read_matrix(const SlabSource& weights, const TensorSource& ready, const std::string& name,
                       std::int64_t rows, std::int64_t cols, at::Device device) {
  const Slab whole{{0, 0}, {rows, cols}};
  const at::Tensor there = ready ? ready(name, whole) : at::Tensor{};
  if (there.defined()) {  // it moves in its own, perhaps narrower, type
    const at::Tensor here = there.to(device);
    return here.to(at::kFloat, /*non_blocking=*/false, /*copy=*/here.is_same(there));
  }
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  weights(name, whole, DType::F32, out.data_ptr<float>());
  return out.to(device);
}

}  // namespace

std::string ffn_prefix(int layer) {
  return "model.layers." + std::to_string(layer) + ".mlp.";
}

FfnWeights read_ffn(const SlabSource& weights, const ModelConfig& config, int layer, at::Device device,
                    const TensorSource& ready) {
  const auto matrix = [&](const char* name, std::int64_t rows, std::int64_t cols) {
    return read_matrix(weights, ready, ffn_prefix(layer) + name, rows, cols, device);
  };
  return {matrix("gate_proj.weight", config.ffn, config.hidden),
          matrix("up_proj.weight", config.ffn, config.hidden),
          matrix("down_proj.weight", config.hidden, config.ffn), config.activation};
}

at::Tensor FfnWeights::products(const at::Tensor& inputs) const {
  at::Tensor out = at::matmul(inputs, gate.t());
  if (activation == Activation::Silu)
    at::silu_(out);
  else
    at::relu_(out);
  const at::Tensor second = at::matmul(inputs, up.t());
  return activation == Activation::Drelu ? out.mul_(at::relu(second)) : out.mul_(second);
}

at::Tensor FfnWeights::down_norms() const {
  return at::linalg_vector_norm(down, 2, at::IntArrayRef({0}));
}

}  // namespace lacuna
