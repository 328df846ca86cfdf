// Gradients of the functions that training runs on a GPU, in double: what the kernels are held against.
#pragma once

#include <cstdint>

#include "kernels/glu.h"

namespace lacuna {

// RMSNorm's, from the rstd [rows] of the forward pass: dx [rows, n] = carried (may be null) + the gradient
// for x; weight_grad [n] += Σ over rows of dy·x·rstd.
void rmsnorm_backward_ref(const double* dy, const double* x, const double* rstd, const double* weight,
                          const double* carried, std::int64_t rows, std::int64_t n, double* dx,
                          double* weight_grad);

// Replaces gate and up by their gradients for the product's gradient p (l1·sign(product) already added).
void glu_backward_ref(Gating gating, double& gate, double& up, double p);

// One row of logits becomes the gradient of scale·loss; columns from `valid` on get zero. target: a column,
// or -1 for a row that is not scored, all zeros. Returns the loss in nats, 0 where not scored.
double cross_entropy_ref(double* logits, std::int64_t cols, std::int64_t valid, std::int64_t target,
                         double scale);

// Gradients of attention_head_ref at first_position 0 for one query head, ADDED to query_grad, key_grad and
// value_grad; context and lse [queries] are those of the forward pass.
struct AttentionGradRef {
  const double *query, *keys, *values, *context, *lse, *context_grad;
  double *query_grad, *key_grad, *value_grad;
};
void attention_head_backward_ref(const AttentionGradRef& head, std::int64_t positions, std::int64_t head_dim,
                                 std::int64_t window, double scale);

}  // namespace lacuna
