#include "src/infer/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/glu.h"
#include "kernels/linear.h"
#include "src/base/error.h"
#include "src/infer/gating.h"

namespace lacuna {

namespace {

float norm_of(const float* values, std::int64_t count) {
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += values[i] * values[i];
  return std::sqrt(sum);
}

}  // namespace

Router::Router(const ModelConfig& config, ThreadPool& pool, std::vector<Scratch>& scratch)
    : config_(config), pool_(pool), scratch_(scratch) {}

// out [tokens, rows] = x · matrixᵀ.
void Router::project(const std::vector<float>& matrix, ConstRows x, std::vector<float>& out) {
  const std::int64_t rows = static_cast<std::int64_t>(matrix.size()) / x.width;
  out.resize(static_cast<std::size_t>(x.count * rows));
  const MatrixView view{reinterpret_cast<const std::byte*>(matrix.data()), DType::F32, rows, x.width,
                        x.width};
  const Rows to{out.data(), x.count, rows, rows};
  pool_.split(
      rows, 1, 2.0 * static_cast<double>(x.count * x.width),
      [&](std::int64_t begin, std::int64_t end, int worker) {
        const ActiveRun run[] = {{static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end - begin)}};
        linear(view, run, x, to, scratch_[static_cast<std::size_t>(worker)]);
      });
}

// Adds what lowrank and neuron routers make of A·x and B·x.
void Router::score_rows(std::int64_t tokens) {
  const RoutedFfn& routed = config_.routed;
  const std::int64_t width = routed.experts * routed.rank;
  if (routed.router == RouterKind::Neuron) {
    const Rows a{rows_a_.data(), tokens, width, width};
    const ActiveRun all[] = {{0, static_cast<std::int32_t>(width)}};
    glu(gating_of(config_.activation), all, a, ConstRows{rows_b_.data(), tokens, width, width}, a);
  }
  for (std::int64_t i = 0; i < tokens * routed.experts; ++i) {
    const float* a = rows_a_.data() + i * routed.rank;
    const float* b = rows_b_.data() + i * routed.rank;
    float& score = scores_[static_cast<std::size_t>(i)];
    if (routed.router == RouterKind::LowRank)
      score += norm_of(a, routed.rank) * norm_of(b, routed.rank);
    else
      for (std::int64_t k = 0; k < routed.rank; ++k) score += std::abs(a[k]);
  }
}

void Router::score(const RouterWeights& weights, ConstRows x) {
  const RoutedFfn& routed = config_.routed;
  if (routed.has_weight())
    project(weights.weight, x, scores_);
  else
    scores_.assign(static_cast<std::size_t>(x.count * routed.experts), 0);
  if (!routed.has_rows()) return;
  project(weights.gate, x, rows_a_);
  project(weights.up, x, rows_b_);
  score_rows(x.count);
}

// One token. Equal keys: the lower index comes first.
void Router::choose(const RouterWeights& weights, const float* scores, float* gates) {
  const RoutedFfn& routed = config_.routed;
  const auto experts = static_cast<std::size_t>(routed.experts);
  keys_.assign(scores, scores + experts);
  for (std::size_t e = 0; e < weights.bias.size(); ++e) keys_[e] += weights.bias[e];
  if (routed.threshold) {
    for (std::size_t e = 0; e < experts; ++e) gates[e] = keys_[e] > 0 ? 1.0F : 0.0F;
  } else {
    order_.resize(experts);
    std::iota(order_.begin(), order_.end(), 0);
    const auto before = [&](std::int64_t a, std::int64_t b) {  // not a number comes first, as a large one
      const float x = keys_[static_cast<std::size_t>(a)], y = keys_[static_cast<std::size_t>(b)];
      return std::isnan(y) ? false : std::isnan(x) || x > y;
    };
    std::stable_sort(order_.begin(), order_.end(), before);
    std::fill(gates, gates + experts, 0.0F);
    for (std::int64_t i = 0; i < weights.neurons.active; ++i) gates[order_[static_cast<std::size_t>(i)]] = 1;
  }
  if (std::all_of(weights.scale.begin(), weights.scale.end(), [](float u) { return u == 0; })) return;
  const float largest = *std::max_element(scores, scores + experts);
  float sum = 0;
  for (std::size_t e = 0; e < experts; ++e) sum += std::exp(scores[e] - largest);
  for (std::size_t e = 0; e < experts; ++e)
    if (gates[e] != 0) gates[e] = 1 + std::exp(scores[e] - largest) / sum * weights.scale[e];
}

std::span<const float> Router::gates_of_scores(const RouterWeights& weights, std::span<const float> scores) {
  gates_.resize(scores.size());
  const auto experts = static_cast<std::size_t>(config_.routed.experts);
  for (std::size_t at = 0; at < scores.size(); at += experts)
    choose(weights, scores.data() + at, gates_.data() + at);
  return gates_;
}

std::span<const float> Router::gates(const RouterWeights& weights, ConstRows x, std::int64_t position) {
  const RoutedFfn& routed = config_.routed;
  LACUNA_ASSERT(routed.router != RouterKind::Oracle);
  if (routed.router == RouterKind::None) {
    gates_.assign(static_cast<std::size_t>(x.count * routed.experts), 0);
    return gates_;
  }
  if (routed.router != RouterKind::Random) {
    score(weights, x);
    return gates_of_scores(weights, scores_);
  }
  // In double: two experts whose scores differ in the last bits must not change places.
  const std::uint64_t key = random_router_key(routed.seed, weights.layer);
  gates_.assign(static_cast<std::size_t>(x.count * routed.experts), 0);
  for (std::int64_t t = 0; t < x.count; ++t) {
    order_.resize(static_cast<std::size_t>(routed.experts));
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
      return random_score(key, position + t, a) > random_score(key, position + t, b);
    });
    for (std::int64_t i = 0; i < weights.neurons.active; ++i)
      gates_[static_cast<std::size_t>(t * routed.experts + order_[static_cast<std::size_t>(i)])] = 1;
  }
  return gates_;
}

}  // namespace lacuna
