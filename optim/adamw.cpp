#include "optim/adamw.h"

#include <cmath>

namespace lacuna {

template <class T>
void adamw(T* weight, const T* grad, T* exp_avg, T* exp_avg_sq, std::size_t count, double lr,
           double weight_decay, double grad_scale, std::int64_t step, const AdamWOptions& options) {
  const double correction1 = 1 - std::pow(options.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(options.beta2, static_cast<double>(step));
  const T beta1 = static_cast<T>(options.beta1), beta2 = static_cast<T>(options.beta2);
  const T rest1 = static_cast<T>(1 - options.beta1), rest2 = static_cast<T>(1 - options.beta2);
  const T keep = static_cast<T>(1 - lr * weight_decay), scale = static_cast<T>(grad_scale);
  const T rate = static_cast<T>(lr / correction1), eps = static_cast<T>(options.eps);
  const T root = static_cast<T>(1 / std::sqrt(correction2));
  for (std::size_t i = 0; i < count; ++i) {
    const T g = grad[i] * scale;
    exp_avg[i] = beta1 * exp_avg[i] + rest1 * g;
    exp_avg_sq[i] = beta2 * exp_avg_sq[i] + rest2 * g * g;
    weight[i] = weight[i] * keep - rate * exp_avg[i] / (std::sqrt(exp_avg_sq[i]) * root + eps);
  }
}

template void adamw<float>(float*, const float*, float*, float*, std::size_t, double, double, double,
                           std::int64_t, const AdamWOptions&);
template void adamw<double>(double*, const double*, double*, double*, std::size_t, double, double, double,
                            std::int64_t, const AdamWOptions&);

}  // namespace lacuna
