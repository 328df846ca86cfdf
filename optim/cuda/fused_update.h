// The optimizer's work on a CUDA device, over all parts that a rank owns in one launch each: sums of squares,
// AdamW. In a build without CUDA the constructor is an Error(Usage).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "optim/adamw.h"
#include "src/base/dtype.h"

namespace lacuna {

// What a rank owns of a parameter: flat, equally long, on the device; accumulation type but for `weight`.
struct UpdatePart {
  at::Tensor master, exp_avg, exp_avg_sq, grad;
  at::Tensor weight;    // compute type: receives the new weights
  bool counted = true;  // in the norm
  double weight_decay = 0;
};

class FusedUpdate {
 public:
  // Keeps the addresses: the tensors outlive it. Collects its tables once.
  FusedUpdate(const std::vector<UpdatePart>& parts, DType compute);
  ~FusedUpdate();
  // Queues the sums of squares and their way to the host; squares() is valid once the device has been waited
  // for.
  void fetch_squares();
  std::vector<double> squares() const;  // of each part, 0 for those not counted
  // Queues the update. `step` counts from 1.
  void step(double lr, double grad_scale, std::int64_t step, const AdamWOptions& options);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
