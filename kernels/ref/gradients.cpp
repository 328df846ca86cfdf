#include "kernels/gradients.h"

#include <algorithm>
#include <cmath>

namespace lacuna {

void rmsnorm_backward_ref(const double* dy, const double* x, const double* rstd, const double* weight,
                          const double* carried, std::int64_t rows, std::int64_t n, double* dx,
                          double* weight_grad) {
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int64_t row = t * n;
    double inner = 0;  // of dy and y
    for (std::int64_t i = 0; i < n; ++i) {
      const double normed = x[row + i] * rstd[t];
      inner += dy[row + i] * weight[i] * normed;
      weight_grad[i] += dy[row + i] * normed;
    }
    const double along = inner * rstd[t] * rstd[t] / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i)
      dx[row + i] = (carried ? carried[row + i] : 0) + rstd[t] * dy[row + i] * weight[i] - along * x[row + i];
  }
}

void glu_backward_ref(Gating gating, double& gate, double& up, double p) {
  const double g = gate, u = up;
  if (gating == Gating::Silu) {
    const double s = 1 / (1 + std::exp(-g));
    gate = p * u * (s + g * s * (1 - s));
    up = p * g * s;
    return;
  }
  const bool on = g > 0 && (gating == Gating::Relu || u > 0);
  gate = on ? p * u : 0;
  up = on ? p * g : 0;
}

double cross_entropy_ref(double* logits, std::int64_t cols, std::int64_t valid, std::int64_t target,
                         double scale) {
  if (target < 0) {
    std::fill_n(logits, cols, 0.0);
    return 0;
  }
  const double top = *std::max_element(logits, logits + valid), at_target = logits[target];
  double sum = 0;
  for (std::int64_t i = 0; i < valid; ++i) sum += std::exp(logits[i] - top);
  for (std::int64_t i = 0; i < cols; ++i)
    logits[i] = i < valid ? scale * (std::exp(logits[i] - top) / sum - (i == target ? 1 : 0)) : 0;
  return std::log(sum) + top - at_target;
}

void attention_head_backward_ref(const AttentionGradRef& head, std::int64_t positions, std::int64_t head_dim,
                                 std::int64_t window, double scale) {
  const auto dot = [head_dim](const double* a, const double* b) {
    double sum = 0;
    for (std::int64_t i = 0; i < head_dim; ++i) sum += a[i] * b[i];
    return sum;
  };
  for (std::int64_t t = 0; t < positions; ++t) {
    const std::int64_t row = t * head_dim;
    const double inner = dot(head.context + row, head.context_grad + row);
    for (std::int64_t p = window > 0 ? std::max<std::int64_t>(0, t + 1 - window) : 0; p <= t; ++p) {
      const std::int64_t other = p * head_dim;
      const double weight = std::exp(scale * dot(head.query + row, head.keys + other) - head.lse[t]);
      const double score_grad = weight * (dot(head.context_grad + row, head.values + other) - inner) * scale;
      for (std::int64_t i = 0; i < head_dim; ++i) {
        head.query_grad[row + i] += score_grad * head.keys[other + i];
        head.key_grad[other + i] += score_grad * head.query[row + i];
        head.value_grad[other + i] += weight * head.context_grad[row + i];
      }
    }
  }
}

}  // namespace lacuna
