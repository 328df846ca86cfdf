// What a frozen teacher says about the tokens of a step, in the form that costs least to keep: the output of
// its final norm and its head. The teacher's logits are made from them a chunk at a time, where the student's
// are scored (src/model/head_loss.h). Filled on the last stage, elsewhere empty.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace lacuna {

struct SoftTargets {
  double share = 0;                // of the loss that the teacher's probabilities have; 0: no teacher
  at::Tensor head;                 // [local vocabulary, hidden of the teacher], compute type
  std::vector<at::Tensor> states;  // of each micro-batch, [tokens/tp, hidden of the teacher], compute type
  bool empty() const { return states.empty(); }
};

}  // namespace lacuna
