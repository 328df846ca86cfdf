#include "src/model/reference_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "src/model/reference_routed.h"

namespace lacuna {

namespace {

at::Tensor rms_normed(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x * at::rsqrt(x.square().mean(-1, true) + eps) * weight;
}

// Angles [positions, head_dim/2] by the wavelength form of Llama 3.1's scaling.
at::Tensor rotary_angles(const ModelConfig& c, std::int64_t positions) {
  const at::Tensor even = at::arange(0, c.head_dim, 2, at::kDouble);
  at::Tensor inverse =
      at::pow(at::scalar_tensor(c.rope_theta, at::kDouble), even / -static_cast<double>(c.head_dim));
  const RopeScaling& s = c.rope_scaling;
  if (s.kind == "linear") inverse = inverse / s.factor;
  if (s.kind == "llama3") {
    const double context = static_cast<double>(s.original_positions);
    const at::Tensor wavelength = 2 * std::numbers::pi / inverse;
    const at::Tensor smooth =
        (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    const at::Tensor between = (1 - smooth) * inverse / s.factor + smooth * inverse;
    inverse = at::where(wavelength > context / s.low_freq_factor, inverse / s.factor,
                        at::where(wavelength < context / s.high_freq_factor, inverse, between));
  }
  return at::outer(at::arange(positions, at::kDouble), inverse);
}

// x [sequences, heads, positions, head_dim]: pairs (i, i + d/2) as complex numbers times e^(i·angle).
at::Tensor rotated(const at::Tensor& x, const at::Tensor& angles) {
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  const at::Tensor wide = at::stack(halves, -1).to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const at::Tensor turn = at::polar(at::ones_like(angles), angles)
                              .to(wide.scalar_type() == at::kDouble ? at::kComplexDouble : at::kComplexFloat);
  const at::Tensor turned = at::view_as_real(at::view_as_complex(wide.contiguous()) * turn);
  return at::cat({turned.select(-1, 0), turned.select(-1, 1)}, -1).to(x.scalar_type());
}

at::Tensor visible_keys(std::int64_t positions, std::int64_t window) {
  const at::Tensor query = at::arange(positions, at::kLong).unsqueeze(1),
                   key = at::arange(positions, at::kLong);
  const at::Tensor causal = key <= query;
  return window > 0 ? causal.logical_and(key > query - window) : causal;
}

at::Tensor attention_output(const ModelConfig& c, const WeightOf& weight, const std::string& prefix,
                            const at::Tensor& x) {
  const std::int64_t sequences = x.size(0), positions = x.size(1);
  const at::Tensor angles = rotary_angles(c, positions);
  const auto heads_of = [&](const std::string& name, std::int64_t heads) {
    at::Tensor y = x.matmul(weight(prefix + name + "_proj.weight").t());
    if (c.qkv_bias) y = y + weight(prefix + name + "_proj.bias");
    return y.view({sequences, positions, heads, c.head_dim});
  };
  at::Tensor query = heads_of("q", c.heads), key = heads_of("k", c.kv_heads),
             value = heads_of("v", c.kv_heads);
  if (c.qk_norm) {
    query = rms_normed(query, weight(prefix + "q_norm.weight"), c.norm_eps);
    key = rms_normed(key, weight(prefix + "k_norm.weight"), c.norm_eps);
  }
  const std::int64_t group = c.heads / c.kv_heads;
  query = rotated(query.transpose(1, 2), angles);
  key = rotated(key.transpose(1, 2), angles).repeat_interleave(group, 1);
  value = value.transpose(1, 2).repeat_interleave(group, 1);
  const at::Tensor scores = query.matmul(key.transpose(2, 3)) / std::sqrt(static_cast<double>(c.head_dim));
  const at::Tensor hidden = visible_keys(positions, c.sliding_window).logical_not();
  const at::Tensor shares = at::softmax(scores.masked_fill(hidden, -INFINITY), -1);
  const at::Tensor context = shares.matmul(value).transpose(1, 2).reshape({sequences, positions, -1});
  return context.matmul(weight(prefix + "o_proj.weight").t());
}

at::Tensor ffn_product(Activation activation, const at::Tensor& gate, const at::Tensor& up) {
  switch (activation) {
    case Activation::Silu:
      return at::silu(gate) * up;
    case Activation::Relu:
      return at::relu(gate) * up;
    case Activation::Drelu:
      break;
  }
  return at::relu(gate) * at::relu(up);
}

at::Tensor ids_tensor(std::span<const std::int32_t> ids) {
  at::Tensor out = at::empty({static_cast<std::int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), out.data_ptr<std::int64_t>());
  return out;
}

}  // namespace

at::Tensor reference_embedding(const WeightOf& weight, std::span<const std::int32_t> tokens,
                               std::int64_t sequences) {
  const at::Tensor rows = weight("model.embed_tokens.weight").index_select(0, ids_tensor(tokens));
  return rows.view({sequences, -1, rows.size(1)});
}

at::Tensor reference_blocks(const ModelConfig& c, const WeightOf& weight, LayerRange layers, at::Tensor x,
                            const ProductSink& sink) {
  for (int layer = layers.begin; layer < layers.end; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    const at::Tensor norm1 = rms_normed(x, weight(block + "input_layernorm.weight"), c.norm_eps);
    x = x + attention_output(c, weight, block + "self_attn.", norm1);
    const at::Tensor norm2 = rms_normed(x, weight(block + "post_attention_layernorm.weight"), c.norm_eps);
    const at::Tensor gate = norm2.matmul(weight(block + "mlp.gate_proj.weight").t());
    const at::Tensor up = norm2.matmul(weight(block + "mlp.up_proj.weight").t());
    const at::Tensor product = ffn_product(c.activation, gate, up);
    if (c.is_routed()) {
      x = x + reference_routed_ffn(c, weight, layer, norm2, product, sink);
      continue;
    }
    if (sink) sink(layer, product);
    x = x + product.matmul(weight(block + "mlp.down_proj.weight").t());
  }
  return x;
}

at::Tensor reference_logits(const ModelConfig& c, const WeightOf& weight, const at::Tensor& x) {
  const at::Tensor head = weight(c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  const at::Tensor normed = rms_normed(x, weight("model.norm.weight"), c.norm_eps);
  return normed.matmul(head.t()).flatten(0, 1);
}

at::Tensor reference_loss(const at::Tensor& logits, std::span<const std::int32_t> targets) {
  const at::Tensor ids = ids_tensor(targets);
  const at::Tensor picked = at::log_softmax(logits, -1).gather(1, ids.clamp_min(0).unsqueeze(1)).squeeze(1);
  return -at::where(ids >= 0, picked, at::zeros_like(picked)).sum();
}

}  // namespace lacuna
