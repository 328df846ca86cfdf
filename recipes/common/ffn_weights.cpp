#include "recipes/common/ffn_weights.h"

#include <ATen/ATen.h>

namespace lacuna {

namespace {

at::Tensor read_matrix(const SlabSource& weights, const std::string& name, std::int64_t rows,
                       std::int64_t cols, at::Device device) {
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  weights(name, {{0, 0}, {rows, cols}}, DType::F32, out.data_ptr<float>());
  return out.to(device);
}

}  // namespace

std::string ffn_prefix(int layer) {
  return "model.layers." + std::to_string(layer) + ".mlp.";
}

FfnWeights read_ffn(const SlabSource& weights, const ModelConfig& config, int layer, at::Device device) {
  const std::string ffn = ffn_prefix(layer);
  return {read_matrix(weights, ffn + "gate_proj.weight", config.ffn, config.hidden, device),
          read_matrix(weights, ffn + "up_proj.weight", config.ffn, config.hidden, device),
          read_matrix(weights, ffn + "down_proj.weight", config.hidden, config.ffn, device),
          config.activation};
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
