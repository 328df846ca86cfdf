#include "src/infer/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

// One token: 1 for experts that are on, else 0. Equal keys: the lower index comes first.
void Router::choose(const RouterWeights& weights, const float* scores, float* gates) {
  const RoutedFfn& routed = config_.routed;
  const auto experts = static_cast<std::size_t>(routed.experts);
  keys_.assign(scores, scores + experts);
  for (std::size_t e = 0; e < weights.bias.size(); ++e) keys_[e] += weights.bias[e];
  if (routed.threshold) {
    for (std::size_t e = 0; e < experts; ++e) gates[e] = keys_[e] > 0 ? 1.0F : 0.0F;
    return;
  }
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

// Standard deviation of each score of a token under a relative error of 1 in each element of x, independent
// ones; for rows an upper bound, by the norms of A and B.
std::vector<double> Router::deviations(const RouterWeights& weights, ConstRows x, std::int64_t token,
                                       const float* scores) const {
  const RoutedFfn& routed = config_.routed;
  const double size = norm_of(x.row(token), x.width) / std::sqrt(static_cast<double>(x.width));
  const auto norm_of_row = [&](const std::vector<float>& matrix, std::int64_t row) {
    return static_cast<double>(norm_of(matrix.data() + row * x.width, x.width));
  };
  std::vector<double> out;
  for (std::int64_t e = 0; e < routed.experts; ++e) {
    double squares = 0;
    if (routed.has_weight()) squares += std::pow(norm_of_row(weights.weight, e), 2);
    const std::int64_t rows = routed.rank, first = e * rows, at = (token * routed.experts + e) * rows;
    double a = 0, b = 0, a_matrix = 0, b_matrix = 0;
    for (std::int64_t k = 0; k < rows; ++k) {
      const double value_a = rows_a_[static_cast<std::size_t>(at + k)],
                   value_b = rows_b_[static_cast<std::size_t>(at + k)];
      const double row_a = norm_of_row(weights.gate, first + k), row_b = norm_of_row(weights.up, first + k);
      a += value_a * value_a;
      b += value_b * value_b;
      a_matrix += row_a * row_a;
      b_matrix += row_b * row_b;
      if (routed.router == RouterKind::Neuron)  // value_a is the product; no activation is steeper than 1.1
        squares +=
            std::pow(1.1 * value_b * row_a, 2) + (value_b == 0 ? 0 : std::pow(value_a / value_b * row_b, 2));
    }
    if (routed.router == RouterKind::LowRank) squares += b * a_matrix + a * b_matrix;
    out.push_back(size * std::sqrt(squares));
    if (routed.router == RouterKind::Oracle) out.back() = std::abs(scores[e]) + norm_of_row(weights.mean, e);
  }
  return out;
}

// After choose() of a token: records its choice, or puts the given one in its place.
void Router::apply_trace(const RouterWeights& weights, ConstRows x, std::int64_t position, std::int64_t token,
                         const float* scores, float* gates) {
  if (trace_ == nullptr) return;
  const auto experts = static_cast<std::size_t>(config_.routed.experts);
  const auto at = static_cast<std::size_t>(weights.layer * trace_->length + position + token) * experts;
  LACUNA_ASSERT(position + token < trace_->length);
  if (!trace_->follow) {
    if (trace_->on.size() < at + experts) trace_->on.resize(at + experts);
    for (std::size_t e = 0; e < experts; ++e) trace_->on[at + e] = gates[e] != 0;
    return;
  }
  LACUNA_ASSERT(at + experts <= trace_->on.size());
  const std::uint8_t* on = trace_->on.data() + at;
  std::size_t different = 0, own = 0, given = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    different += (on[e] != 0) != (gates[e] != 0);
    own += gates[e] != 0;
    given += on[e] != 0;
  }
  if (different == 0) return;
  const bool excusable = scores != nullptr && (own == given || config_.routed.threshold);
  trace_->doubt =
      std::max(trace_->doubt, !excusable ? std::numeric_limits<double>::infinity()
                                         : route_doubt(keys_, deviations(weights, x, token, scores),
                                                       {on, experts}, config_.routed.threshold));
  for (std::size_t e = 0; e < experts; ++e) gates[e] = on[e] != 0 ? 1.0F : 0.0F;
}

std::span<const float> Router::gates_of_scores(const RouterWeights& weights, std::span<const float> scores,
                                               ConstRows x, std::int64_t position) {
  gates_.resize(scores.size());
  const std::int64_t experts = config_.routed.experts;
  const bool scaled = std::any_of(weights.scale.begin(), weights.scale.end(), [](float u) { return u != 0; });
  for (std::int64_t t = 0; t < x.count; ++t) {
    const float* score = scores.data() + t * experts;
    float* gates = gates_.data() + t * experts;
    choose(weights, score, gates);
    apply_trace(weights, x, position, t, score, gates);
    if (!scaled) continue;
    const float largest = *std::max_element(score, score + experts);
    float sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) sum += std::exp(score[e] - largest);
    for (std::int64_t e = 0; e < experts; ++e)
      if (gates[e] != 0)
        gates[e] = 1 + std::exp(score[e] - largest) / sum * weights.scale[static_cast<std::size_t>(e)];
  }
  return gates_;
}

// In double: two experts whose scores differ in the last bits must not change places.
void Router::choose_at_random(const RouterWeights& weights, std::int64_t position, float* gates) {
  const RoutedFfn& routed = config_.routed;
  const std::uint64_t key = random_router_key(routed.seed, weights.layer);
  order_.resize(static_cast<std::size_t>(routed.experts));
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](std::int64_t a, std::int64_t b) {
    return random_score(key, position, a) > random_score(key, position, b);
  });
  for (std::int64_t i = 0; i < weights.neurons.active; ++i) gates[order_[static_cast<std::size_t>(i)]] = 1;
}

std::span<const float> Router::gates(const RouterWeights& weights, ConstRows x, std::int64_t position) {
  const RoutedFfn& routed = config_.routed;
  LACUNA_ASSERT(routed.router != RouterKind::Oracle);
  if (routed.has_scores()) {
    score(weights, x);
    return gates_of_scores(weights, scores_, x, position);
  }
  gates_.assign(static_cast<std::size_t>(x.count * routed.experts), 0);
  for (std::int64_t t = 0; t < x.count; ++t) {
    float* gates = gates_.data() + t * routed.experts;
    if (routed.router == RouterKind::Random) choose_at_random(weights, position + t, gates);
    apply_trace(weights, x, position, t, nullptr, gates);
  }
  return gates_;
}

}  // namespace lacuna
