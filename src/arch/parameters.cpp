#include "src/arch/parameters.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (std::int64_t extent : shape) n *= extent;
  return n;
}

Parameter matrix(std::string name, std::int64_t rows, std::int64_t cols, Split split, Role role, int layer,
                 double std) {
  return {std::move(name), {rows, cols}, split, role, layer, true, std, 0};
}

Parameter vector(std::string name, std::int64_t n, Split split, Role role, int layer, double value) {
  return {std::move(name), {n}, split, role, layer, false, 0, value};
}

// The names and shapes of a routed FFN's own tensors. Where the router has no such tensor there is none.
void add_router(std::vector<Parameter>& out, const ModelConfig& c, int layer) {
  const std::string ffn = "model.layers." + std::to_string(layer) + ".mlp.";
  const RoutedFfn& r = c.routed;
  const auto add_matrix = [&](const char* name, std::int64_t rows, Role role) {
    out.push_back(matrix(ffn + name, rows, c.hidden, Split::None, role, layer, 0.02));
  };
  const auto add_vector = [&](const char* name, Role role) {
    out.push_back(vector(ffn + name, r.experts, Split::None, role, layer, 0));
  };
  if (r.has_weight()) add_matrix("router.weight", r.experts, Role::RouterWeight);
  if (r.has_rows()) {
    add_matrix("router.gate", r.experts * r.rank, Role::RouterGate);
    add_matrix("router.up", r.experts * r.rank, Role::RouterUp);
  }
  if (r.has_bias()) add_vector("router.bias", Role::RouterBias);
  if (r.has_scores()) add_vector("router.scale", Role::RouterScale);
  out.push_back({ffn + "experts.mean", {r.experts, c.hidden}, Split::None, Role::ExpertMean, layer, false, 0, 0});
}

void add_block(std::vector<Parameter>& out, const ModelConfig& c, int layer) {
  const std::string block = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = block + "self_attn.", ffn = block + "mlp.";
  const double std = 0.02, residual_std = 0.02 / std::sqrt(2.0 * static_cast<double>(c.layers));
  out.push_back(vector(block + "input_layernorm.weight", c.hidden, Split::None, Role::AttentionNorm, layer, 1));
  out.push_back(matrix(attention + "q_proj.weight", c.query_width(), c.hidden, Split::Rows, Role::Query, layer, std));
  out.push_back(matrix(attention + "k_proj.weight", c.kv_width(), c.hidden, Split::KvRows, Role::Key, layer, std));
  out.push_back(matrix(attention + "v_proj.weight", c.kv_width(), c.hidden, Split::KvRows, Role::Value, layer, std));
  if (c.qkv_bias) {
    out.push_back(vector(attention + "q_proj.bias", c.query_width(), Split::Rows, Role::QueryBias, layer, 0));
    out.push_back(vector(attention + "k_proj.bias", c.kv_width(), Split::KvRows, Role::KeyBias, layer, 0));
    out.push_back(vector(attention + "v_proj.bias", c.kv_width(), Split::KvRows, Role::ValueBias, layer, 0));
  }
  if (c.qk_norm) {
    out.push_back(vector(attention + "q_norm.weight", c.head_dim, Split::None, Role::QueryNorm, layer, 1));
    out.push_back(vector(attention + "k_norm.weight", c.head_dim, Split::None, Role::KeyNorm, layer, 1));
  }
  out.push_back(matrix(attention + "o_proj.weight", c.hidden, c.query_width(), Split::Cols, Role::Output, layer,
                       residual_std));
  out.push_back(vector(block + "post_attention_layernorm.weight", c.hidden, Split::None, Role::FfnNorm, layer, 1));
  out.push_back(matrix(ffn + "gate_proj.weight", c.ffn, c.hidden, Split::Rows, Role::Gate, layer, std));
  out.push_back(matrix(ffn + "up_proj.weight", c.ffn, c.hidden, Split::Rows, Role::Up, layer, std));
  out.push_back(matrix(ffn + "down_proj.weight", c.hidden, c.ffn, Split::Cols, Role::Down, layer, residual_std));
  if (c.is_routed()) add_router(out, c, layer);
}

}  // namespace

std::int64_t Parameter::elements() const { return product(shape); }
std::int64_t Slab::elements() const { return product(extent); }

std::vector<Parameter> parameters(const ModelConfig& c) {
  std::vector<Parameter> out;
  out.push_back(matrix("model.embed_tokens.weight", c.vocab, c.hidden, Split::Vocab, Role::Embedding, -1, 0.02));
  for (int layer = 0; layer < c.layers; ++layer) add_block(out, c, layer);
  const int after = static_cast<int>(c.layers);
  out.push_back(vector("model.norm.weight", c.hidden, Split::None, Role::FinalNorm, after, 1));
  if (!c.tied_embeddings)
    out.push_back(matrix("lm_head.weight", c.vocab, c.hidden, Split::Vocab, Role::Head, after, 0.02));
  return out;
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t n = 0;
  for (const Parameter& p : parameters(config)) n += p.elements();
  return n;
}

LocalTensor local_tensor(const Parameter& p, const ModelConfig& config, int rank, int tp) {
  LocalTensor local{p.shape, {std::vector<std::int64_t>(p.shape.size(), 0), p.shape}, 0, 1};
  const auto cut = [&](std::size_t dim, std::int64_t begin, std::int64_t size) {
    local.shape[dim] = size;
    local.slab.offset[dim] = std::min(begin, p.shape[dim]);
    local.slab.extent[dim] = std::clamp<std::int64_t>(p.shape[dim] - begin, 0, size);
  };
  switch (p.split) {
    case Split::None:
      local.replica = rank;
      local.replicas = tp;
      break;
    case Split::Rows: {
      const std::int64_t size = div_exact(p.shape[0], tp);
      cut(0, rank * size, size);
      break;
    }
    case Split::Cols: {
      const std::int64_t size = div_exact(p.shape[1], tp);
      cut(1, rank * size, size);
      break;
    }
    case Split::KvRows: {
      if (config.kv_heads >= tp) {
        const std::int64_t size = div_exact(config.kv_heads, tp) * config.head_dim;
        cut(0, rank * size, size);
      } else {  // each head on tp / kv_heads consecutive ranks
        local.replicas = static_cast<int>(div_exact(tp, config.kv_heads));
        local.replica = rank % local.replicas;
        cut(0, rank / local.replicas * config.head_dim, config.head_dim);
      }
      break;
    }
    case Split::Vocab: {
      const std::int64_t size = ceil_div(p.shape[0], tp);
      cut(0, rank * size, size);
      break;
    }
  }
  return local;
}

RowRange owned_rows(const LocalTensor& local, int rank, int dp) {
  const std::int64_t rows = local.shape[0];
  return {rows * rank / dp, rows * (rank + 1) / dp};
}

Slab slab_of_rows(const LocalTensor& local, RowRange rows) {
  Slab slab = local.slab;
  const std::int64_t stored = local.slab.extent[0];
  const std::int64_t begin = std::min(rows.begin, stored), end = std::min(rows.end, stored);
  slab.offset[0] += begin;
  slab.extent[0] = end - begin;
  return slab;
}

std::vector<std::string> tp_problems(const ModelConfig& config, int tp) {
  std::vector<std::string> problems;
  const auto divides = [&](const char* what, std::int64_t size) {
    if (size % tp == 0) return;
    std::string valid;
    for (std::int64_t t = 1; t <= std::min<std::int64_t>(size, 64); ++t)
      if (size % t == 0) valid += (valid.empty() ? "" : ", ") + std::to_string(t);
    problems.push_back(fmt::format("{} {} does not divide by tp {}; valid: {}", what, size, tp, valid));
  };
  divides("model.heads", config.heads);
  divides("model.ffn", config.ffn);
  if (config.kv_heads % tp != 0 && tp % config.kv_heads != 0)
    problems.push_back(fmt::format("model.kv-heads {} neither divides by tp {} nor divides it", config.kv_heads, tp));
  return problems;
}

}  // namespace lacuna
