// AdamW on flat buffers (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2, decoupled weight decay).
// Element-wise, so the result does not depend on how the buffers are cut.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lacuna {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
};

// One update of `count` elements. T is float or double; gradients are multiplied by `grad_scale` (clipping)
// first. `step` counts from 1. Buffers do not overlap.
template <class T>
void adamw(T* weight, const T* grad, T* exp_avg, T* exp_avg_sq, std::size_t count, double lr,
           double weight_decay, double grad_scale, std::int64_t step, const AdamWOptions& options);

}  // namespace lacuna
