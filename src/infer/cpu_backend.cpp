#include "src/infer/cpu_backend.h"

#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/unpack.h"
#include "src/base/error.h"
#include "src/infer/rope_settings.h"

namespace lacuna {

namespace {

// Tokens [begin, end) of x.
template <class View>
View tokens_of(View x, std::int64_t begin, std::int64_t end) {
  x.data += begin * x.stride;
  x.count = end - begin;
  return x;
}

// The heads of every token as rows of their own: x is contiguous.
Rows heads_of(Rows x, std::int64_t head_dim) {
  return {x.data, x.count * (x.width / head_dim), head_dim, head_dim};
}

void add_bias(const std::vector<float>& bias, Rows x) {
  if (bias.empty()) return;
  for (std::int64_t t = 0; t < x.count; ++t)
    for (std::int64_t i = 0; i < x.width; ++i) x.row(t)[i] += bias[static_cast<std::size_t>(i)];
}

}  // namespace

CpuBackend::CpuBackend(const Weights& weights, FfnPath path, int threads, std::int64_t context)
    : weights_(weights),
      config_(weights.config()),
      pool_(threads),
      scratch_(static_cast<std::size_t>(pool_.size())),
      scores_(static_cast<std::size_t>(pool_.size())),
      cache_(config_, context),
      rope_settings_(rope_settings(config_)),
      ffn_(config_, path, pool_, scratch_) {
  clear_statistics();
}

void CpuBackend::clear_statistics() {
  statistics_ = {};
  statistics_.layers.resize(static_cast<std::size_t>(config_.layers));
}

Rows CpuBackend::buffer(std::vector<float>& storage, std::int64_t tokens, std::int64_t width) {
  const auto room = static_cast<std::size_t>(tokens * width);
  if (storage.size() < room) storage.resize(room);
  return {storage.data(), tokens, width, width};
}

void CpuBackend::reserve(std::int64_t positions) {
  cache_.reserve(positions);
  if (rope_.positions() < cache_.room()) rope_ = rope_table(rope_settings_, config_.head_dim, cache_.room());
}

void CpuBackend::step(std::span<const std::int32_t> tokens, std::int64_t position) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  LACUNA_ASSERT(count > 0 && count <= max_step());
  reserve(position + count);
  hidden_ = buffer(hidden_storage_, count, config_.hidden);
  normed_ = buffer(normed_storage_, count, config_.hidden);
  change_ = buffer(change_storage_, count, config_.hidden);
  for (std::int64_t t = 0; t < count; ++t)
    unpack_row(weights_.embedding(), tokens[static_cast<std::size_t>(t)], hidden_.row(t));
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    const LayerWeights& weights = weights_.layers()[static_cast<std::size_t>(layer)];
    normalise(hidden_, weights.attention_norm, normed_);
    attend(layer, weights, position);
    add(change_, hidden_);
    normalise(hidden_, weights.ffn_norm, normed_);
    ffn_.forward(weights, weights_.neuron_major(), normed_, position, change_,
                 statistics_.layers[static_cast<std::size_t>(layer)]);
    add(change_, hidden_);
  }
  normalise(hidden_, weights_.final_norm(), normed_);
  statistics_.tokens += count;
  ++statistics_.steps;
}

ConstRows CpuBackend::logits(std::int64_t begin, std::int64_t count) {
  LACUNA_ASSERT(begin >= 0 && count > 0 && begin + count <= normed_.count);
  const Rows out = buffer(logits_storage_, count, config_.vocab);
  const Projection head[] = {{&weights_.head(), out}};
  project(head, tokens_of(normed_, begin, begin + count));
  return out;
}

void CpuBackend::normalise(ConstRows x, const std::vector<float>& weight, Rows out) {
  pool_.split(x.count, 1, 4.0 * static_cast<double>(x.width), [&](std::int64_t begin, std::int64_t end, int) {
    rmsnorm(tokens_of(x, begin, end), weight.data(), config_.norm_eps, tokens_of(out, begin, end));
  });
}

void CpuBackend::add(ConstRows from, Rows to) {
  pool_.split(to.count, 1, static_cast<double>(to.width), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t i = 0; i < to.width; ++i) to.row(t)[i] += from.row(t)[i];
  });
}

// Several matrices times the same tokens, their rows shared out as one list.
void CpuBackend::project(std::span<const Projection> projections, ConstRows x) {
  std::int64_t rows = 0;
  for (const Projection& projection : projections) rows += projection.matrix->rows;
  const double cost = 2.0 * static_cast<double>(x.count * x.width);
  pool_.split(rows, 16, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
    std::int64_t at = 0;
    for (const Projection& projection : projections) {
      const std::int64_t from = std::max(begin - at, std::int64_t{0});
      const std::int64_t to = std::min(end - at, projection.matrix->rows);
      at += projection.matrix->rows;
      if (from >= to) continue;
      const ActiveRun run[] = {{static_cast<std::int32_t>(from), static_cast<std::int32_t>(to - from)}};
      linear(*projection.matrix, run, x, projection.out, scratch_[static_cast<std::size_t>(worker)]);
    }
  });
}

// change = output(attention(normed)); stores the step's keys and values.
void CpuBackend::attend(std::int64_t layer, const LayerWeights& weights, std::int64_t position) {
  const std::int64_t tokens = normed_.count, head_dim = config_.head_dim;
  const Rows query = buffer(query_storage_, tokens, config_.query_width());
  const Rows key = buffer(key_storage_, tokens, config_.kv_width());
  const Rows value = buffer(value_storage_, tokens, config_.kv_width());
  const Rows context = buffer(context_storage_, tokens, config_.query_width());
  const Projection inputs[] = {{&weights.query, query}, {&weights.key, key}, {&weights.value, value}};
  project(inputs, normed_);
  finish_query_key(weights, query, key, value, position);
  for (std::int64_t t = 0; t < tokens; ++t) cache_.store(layer, position + t, key.row(t), value.row(t));

  constexpr std::int64_t kQueries = 64;
  const std::int64_t blocks = (tokens + kQueries - 1) / kQueries, group = config_.heads / config_.kv_heads;
  const double cost = 4.0 * static_cast<double>(std::min(tokens, kQueries) * (position + tokens) * head_dim);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));
  pool_.split(config_.heads * blocks, 1, cost, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task % config_.heads, first = task / config_.heads * kQueries;
      const std::int64_t last = std::min(first + kQueries, tokens), at = head * head_dim;
      attention_head({{query.row(first) + at, last - first, head_dim, query.stride},
                      position + first,
                      cache_.keys(layer, head / group),
                      cache_.values(layer, head / group),
                      config_.sliding_window,
                      scale,
                      {context.row(first) + at, last - first, head_dim, context.stride}},
                     scores_[static_cast<std::size_t>(worker)], scratch_[static_cast<std::size_t>(worker)]);
    }
  });
  const Projection output[] = {{&weights.output, change_}};
  project(output, context);
}

// Biases (Qwen2), norms per head (Qwen3), rotation.
void CpuBackend::finish_query_key(const LayerWeights& weights, Rows query, Rows key, Rows value,
                                  std::int64_t position) {
  const double cost = 10.0 * static_cast<double>(query.width + key.width);
  pool_.split(query.count, 1, cost, [&](std::int64_t begin, std::int64_t end, int) {
    const Rows q = tokens_of(query, begin, end), k = tokens_of(key, begin, end);
    add_bias(weights.query_bias, q);
    add_bias(weights.key_bias, k);
    add_bias(weights.value_bias, tokens_of(value, begin, end));
    if (config_.qk_norm) {
      const Rows q_heads = heads_of(q, config_.head_dim), k_heads = heads_of(k, config_.head_dim);
      rmsnorm(q_heads, weights.query_norm.data(), config_.norm_eps, q_heads);
      rmsnorm(k_heads, weights.key_norm.data(), config_.norm_eps, k_heads);
    }
    rope(rope_, position + begin, q);
    rope(rope_, position + begin, k);
  });
}

}  // namespace lacuna
