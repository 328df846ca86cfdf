// The whole model written out once more, slowly, in double, from the reference kernels.
#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "kernels/glu.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "tests/infer/random_model.h"

namespace lacuna::test {

namespace {

using Values = std::vector<double>;

struct Model {
  const ModelSource& source;
  const ModelConfig& config;
  Values get(const std::string& name) const {
    std::int64_t elements = 0;
    for (const Parameter& p : parameters(config))
      if (p.name == name) elements = p.elements();
    Values out(static_cast<std::size_t>(elements));
    source.copy(name, DType::F64, out.data());
    return out;
  }
};

// out[t] = w·x[t] (+ bias), w [rows, cols].
Values times(const Values& w, const Values& x, std::size_t cols, const Values& bias = {}) {
  const std::size_t rows = w.size() / cols, tokens = x.size() / cols;
  Values out(tokens * rows);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = bias.empty() ? 0 : bias[r];
      for (std::size_t k = 0; k < cols; ++k) sum += w[r * cols + k] * x[t * cols + k];
      out[t * rows + r] = sum;
    }
  return out;
}

Values normed(const Values& x, const Values& weight, double eps) {
  Values out(x.size());
  const auto width = static_cast<std::int64_t>(weight.size());
  rmsnorm_ref(x.data(), static_cast<std::int64_t>(x.size()) / width, width, weight.data(), eps, out.data());
  return out;
}

void add(Values& to, const Values& from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

// Columns [head·d, (head+1)·d) of every token.
Values head_of(const Values& x, std::int64_t heads, std::int64_t head, std::int64_t d) {
  Values out;
  for (std::size_t at = static_cast<std::size_t>(head * d); at < x.size();
       at += static_cast<std::size_t>(heads * d))
    out.insert(out.end(), x.begin() + static_cast<std::ptrdiff_t>(at),
               x.begin() + static_cast<std::ptrdiff_t>(at) + d);
  return out;
}

Values attention(const Model& m, const std::string& block, const Values& x) {
  const ModelConfig& c = m.config;
  const auto hidden = static_cast<std::size_t>(c.hidden);
  const auto bias = [&](const char* name) { return c.qkv_bias ? m.get(block + name) : Values{}; };
  Values q = times(m.get(block + "q_proj.weight"), x, hidden, bias("q_proj.bias"));
  Values k = times(m.get(block + "k_proj.weight"), x, hidden, bias("k_proj.bias"));
  const Values v = times(m.get(block + "v_proj.weight"), x, hidden, bias("v_proj.bias"));
  if (c.qk_norm) {
    q = normed(q, m.get(block + "q_norm.weight"), c.norm_eps);
    k = normed(k, m.get(block + "k_norm.weight"), c.norm_eps);
  }
  const auto tokens = static_cast<std::int64_t>(x.size()) / c.hidden;
  RopeSettings rope{c.rope_theta};
  if (c.rope_scaling.kind == "linear")
    rope = {c.rope_theta, RopeSettings::Scaling::Linear, c.rope_scaling.factor};
  rope_ref(rope, c.head_dim, 0, tokens, c.heads, q.data());
  rope_ref(rope, c.head_dim, 0, tokens, c.kv_heads, k.data());
  Values context(q.size());
  for (std::int64_t head = 0; head < c.heads; ++head) {
    const std::int64_t shared = head / (c.heads / c.kv_heads), d = c.head_dim;
    Values out(static_cast<std::size_t>(tokens * d));
    attention_head_ref(head_of(q, c.heads, head, d).data(), tokens, d, 0,
                       head_of(k, c.kv_heads, shared, d).data(), head_of(v, c.kv_heads, shared, d).data(),
                       c.sliding_window, 1 / std::sqrt(static_cast<double>(d)), out.data());
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < d; ++i)
        context[static_cast<std::size_t>((t * c.heads + head) * d + i)] =
            out[static_cast<std::size_t>(t * d + i)];
  }
  return times(m.get(block + "o_proj.weight"), context, static_cast<std::size_t>(c.query_width()));
}

Gating gating_of_model(const ModelConfig& c) {
  return c.activation == Activation::Silu   ? Gating::Silu
         : c.activation == Activation::Relu ? Gating::Relu
                                            : Gating::Drelu;
}

// Router scores [tokens, E] by the formulas of src/arch/routed_ffn.h; oracle scores from the experts'
// outputs.
Values router_scores(const Model& m, const std::string& block, const Values& x,
                     const std::vector<Values>& outputs) {
  const RoutedFfn& r = m.config.routed;
  const auto hidden = static_cast<std::size_t>(m.config.hidden),
             experts = static_cast<std::size_t>(r.experts);
  const std::size_t tokens = x.size() / hidden, rank = static_cast<std::size_t>(r.rank);
  Values scores(tokens * experts);
  if (r.has_weight()) scores = times(m.get(block + "router.weight"), x, hidden);
  const Values mean = m.get(block + "experts.mean");
  const Values a = r.has_rows() ? times(m.get(block + "router.gate"), x, hidden) : Values{};
  const Values b = r.has_rows() ? times(m.get(block + "router.up"), x, hidden) : Values{};
  const int layer = std::stoi(block.substr(std::string("model.layers.").size()));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::size_t t = i / experts, e = i % experts;
    double a_squares = 0, b_squares = 0, rest_squares = 0;
    for (std::size_t k = i * rank; k < (i + 1) * rank; ++k) {
      a_squares += a[k] * a[k];
      b_squares += b[k] * b[k];
      if (r.router == RouterKind::Neuron)
        scores[i] += std::abs(glu_ref(gating_of_model(m.config), a[k], b[k]));
    }
    if (r.router == RouterKind::LowRank) scores[i] += std::sqrt(a_squares * b_squares);
    for (std::size_t j = 0; j < hidden; ++j) {
      const double rest = outputs[e][t * hidden + j] - mean[e * hidden + j];
      rest_squares += rest * rest;
    }
    if (r.router == RouterKind::Oracle) scores[i] = std::sqrt(rest_squares);
    if (r.router == RouterKind::Random)
      scores[i] = random_score(random_router_key(r.seed, layer), static_cast<std::int64_t>(t),
                               static_cast<std::int64_t>(e));
  }
  return scores;
}

// Gates of one token's experts.
Values gates_of(const ModelConfig& c, std::int64_t active, const double* scores, const Values& bias,
                const Values& scale) {
  const auto experts = static_cast<std::size_t>(c.routed.experts);
  Values gates(experts);
  double sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += std::exp(scores[e] - scores[0]);
  for (std::size_t e = 0; e < experts; ++e) {
    const auto key = [&](std::size_t i) { return scores[i] + (bias.empty() ? 0 : bias[i]); };
    std::int64_t ahead = 0;
    for (std::size_t o = 0; o < experts; ++o) ahead += key(o) > key(e) || (key(o) == key(e) && o < e);
    bool on = c.routed.threshold ? key(e) > 0 : ahead < active;
    on = on && c.routed.router != RouterKind::None;
    if (on) gates[e] = 1 + (scale.empty() ? 0 : scale[e] * std::exp(scores[e] - scores[0]) / sum);
  }
  return gates;
}

Values routed_output(const Model& m, const std::string& block, const Values& x, const Values& product) {
  const ModelConfig& c = m.config;
  const int layer = std::stoi(block.substr(std::string("model.layers.").size()));
  const RoutedLayer neurons = routed_layer(c.routed, c.ffn, layer);
  const auto hidden = static_cast<std::size_t>(c.hidden), ffn = static_cast<std::size_t>(c.ffn),
             experts = static_cast<std::size_t>(c.routed.experts);
  const Values down = m.get(block + "down_proj.weight"), mean = m.get(block + "experts.mean");
  const auto output_of = [&](std::int64_t begin, std::int64_t end) {
    Values part(product.size());
    for (std::size_t i = 0; i < product.size(); ++i) {
      const auto neuron = static_cast<std::int64_t>(i % ffn);
      if (neuron >= begin && neuron < end) part[i] = product[i];
    }
    return times(down, part, ffn);
  };
  std::vector<Values> outputs;
  for (std::size_t e = 0; e < experts; ++e)
    outputs.push_back(output_of(neurons.begin[e], neurons.begin[e + 1]));
  const Values scores = router_scores(m, block, x, outputs);
  const Values bias = c.routed.has_bias() ? m.get(block + "router.bias") : Values{};
  const Values scale = c.routed.has_scores() ? m.get(block + "router.scale") : Values{};
  Values out = output_of(0, neurons.shared);
  for (std::size_t t = 0; t < x.size() / hidden; ++t) {
    const Values gates = gates_of(c, neurons.active, scores.data() + t * experts, bias, scale);
    for (std::size_t e = 0; e < experts; ++e)
      for (std::size_t j = 0; j < hidden; ++j)
        out[t * hidden + j] += gates[e] != 0 ? gates[e] * outputs[e][t * hidden + j] : mean[e * hidden + j];
  }
  return out;
}

Values ffn(const Model& m, const std::string& block, const Values& x, Reference& counts) {
  const ModelConfig& c = m.config;
  const auto hidden = static_cast<std::size_t>(c.hidden), neurons = static_cast<std::size_t>(c.ffn);
  Values gate = times(m.get(block + "gate_proj.weight"), x, hidden);
  const Values up = times(m.get(block + "up_proj.weight"), x, hidden);
  const Gating gating = gating_of_model(c);
  counts.open.emplace_back();
  counts.nonzero.emplace_back();
  for (std::size_t t = 0; t < gate.size() / neurons; ++t) {
    std::int64_t open = 0, nonzero = 0;
    for (std::size_t i = t * neurons; i < (t + 1) * neurons; ++i) {
      open += gate[i] > 0;
      gate[i] = glu_ref(gating, gate[i], up[i]);
      nonzero += gate[i] != 0;
    }
    counts.open.back().push_back(open);
    counts.nonzero.back().push_back(nonzero);
  }
  if (c.is_routed()) return routed_output(m, block, x, gate);
  return times(m.get(block + "down_proj.weight"), gate, neurons);
}

}  // namespace

Reference reference_forward(const ModelSource& source, const std::vector<std::int32_t>& ids) {
  const Model m{source, source.config()};
  const ModelConfig& c = m.config;
  const auto hidden = static_cast<std::size_t>(c.hidden);
  Reference out;
  const Values embedding = m.get("model.embed_tokens.weight");
  Values x;
  for (std::int32_t id : ids)
    x.insert(x.end(), embedding.begin() + id * c.hidden, embedding.begin() + (id + 1) * c.hidden);
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    add(x,
        attention(m, block + "self_attn.", normed(x, m.get(block + "input_layernorm.weight"), c.norm_eps)));
    add(x,
        ffn(m, block + "mlp.", normed(x, m.get(block + "post_attention_layernorm.weight"), c.norm_eps), out));
  }
  const Values head = c.tied_embeddings ? embedding : m.get("lm_head.weight");
  const Values logits = times(head, normed(x, m.get("model.norm.weight"), c.norm_eps), hidden);
  for (std::size_t t = 0; t < ids.size(); ++t)
    out.logits.emplace_back(logits.begin() + static_cast<std::ptrdiff_t>(t) * c.vocab,
                            logits.begin() + static_cast<std::ptrdiff_t>(t + 1) * c.vocab);
  return out;
}

}  // namespace lacuna::test
