#include "src/model/reference_routed.h"

#include <ATen/ATen.h>

#include <vector>

namespace lacuna {

namespace {

at::Tensor activated(Activation activation, const at::Tensor& gate, const at::Tensor& up) {
  if (activation == Activation::Silu) return at::silu(gate) * up;
  return at::relu(gate) * (activation == Activation::Drelu ? at::relu(up) : up);
}

// Score of each expert, a list of [sequences, seq_len].
std::vector<at::Tensor> scores_of(const ModelConfig& c, const WeightOf& weight, int layer,
                                  const at::Tensor& x, const std::vector<at::Tensor>& outputs) {
  const RoutedFfn& r = c.routed;
  const std::string ffn = "model.layers." + std::to_string(layer) + ".mlp.";
  std::vector<at::Tensor> out;
  const std::uint64_t key = random_router_key(r.seed, layer);
  for (std::int64_t e = 0; e < r.experts; ++e) {
    const auto rows = [&](const char* name) {
      return x.matmul(weight(ffn + name).narrow(0, e * r.rank, r.rank).t());
    };
    at::Tensor score = at::zeros(x.sizes().slice(0, 2), x.options());
    if (r.has_weight()) score = score + x.matmul(weight(ffn + "router.weight").select(0, e));
    if (r.router == RouterKind::LowRank)
      score = score + rows("router.gate").square().sum(-1).sqrt() * rows("router.up").square().sum(-1).sqrt();
    if (r.router == RouterKind::Neuron)
      score = score + activated(c.activation, rows("router.gate"), rows("router.up")).abs().sum(-1);
    if (r.router == RouterKind::Oracle) {
      const at::Tensor mean = weight(ffn + "experts.mean").select(0, e);
      score = (outputs[static_cast<std::size_t>(e)] - mean).square().sum(-1).sqrt().detach();
    }
    for (std::int64_t t = 0; r.router == RouterKind::Random && t < x.size(1); ++t)
      score.select(1, t).fill_(random_score(key, t, e));
    out.push_back(score);
  }
  return out;
}

// Whether expert e is on, as 0 and 1: by how many others come before it.
at::Tensor is_on(const RoutedFfn& r, std::int64_t active, const std::vector<at::Tensor>& keys,
                 std::size_t e) {
  if (r.router == RouterKind::None) return at::zeros_like(keys[e]);
  if (r.threshold) return (keys[e] > 0).to(keys[e].scalar_type());
  at::Tensor before = at::zeros_like(keys[e]);
  for (std::size_t other = 0; other < keys.size(); ++other) {
    if (other == e) continue;
    const at::Tensor wins = other < e ? keys[other] >= keys[e] : keys[other] > keys[e];
    before = before + wins.to(before.scalar_type());
  }
  return (before < static_cast<double>(active)).to(keys[e].scalar_type());
}

}  // namespace

at::Tensor reference_routed_ffn(const ModelConfig& c, const WeightOf& weight, int layer, const at::Tensor& x,
                                const at::Tensor& product, const ProductSink& sink) {
  const RoutedFfn& r = c.routed;
  const RoutedLayer neurons = routed_layer(r, c.ffn, layer);
  const std::string ffn = "model.layers." + std::to_string(layer) + ".mlp.";
  const at::Tensor down = weight(ffn + "down_proj.weight");
  const auto project = [&](const at::Tensor& part, std::int64_t begin) {
    return part.matmul(down.narrow(1, begin, part.size(-1)).t());
  };
  std::vector<at::Tensor> products, outputs, shares, keys;
  for (std::int64_t e = 0; e < r.experts; ++e) {
    const std::int64_t begin = neurons.begin[static_cast<std::size_t>(e)];
    products.push_back(product.narrow(-1, begin, neurons.size(e)));
    outputs.push_back(project(products.back(), begin));
  }
  const std::vector<at::Tensor> scores = scores_of(c, weight, layer, x, outputs);
  const at::Tensor all_shares = at::softmax(at::stack(scores, -1), -1);
  for (std::int64_t e = 0; e < r.experts; ++e) {
    const auto i = static_cast<std::size_t>(e);
    keys.push_back(r.has_bias() ? scores[i] + weight(ffn + "router.bias").select(0, e) : scores[i]);
    keys.back() = keys.back().detach();
  }
  at::Tensor out = project(product.narrow(-1, 0, neurons.shared), 0);
  std::vector<at::Tensor> gated = {product.narrow(-1, 0, neurons.shared)};
  for (std::int64_t e = 0; e < r.experts; ++e) {
    const auto i = static_cast<std::size_t>(e);
    const at::Tensor on = is_on(r, neurons.active, keys, i).unsqueeze(-1);
    at::Tensor gate = on;
    if (r.has_scores())
      gate = on * (1 + all_shares.select(-1, e).unsqueeze(-1) * weight(ffn + "router.scale").select(0, e));
    out = out + gate * outputs[i] + (1 - on) * weight(ffn + "experts.mean").select(0, e);
    gated.push_back(gate * products[i]);
  }
  if (sink) sink(layer, at::cat(gated, -1));
  return out;
}

}  // namespace lacuna
