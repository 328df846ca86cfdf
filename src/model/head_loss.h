// Final norm, vocabulary-parallel head and cross-entropy of the last stage. `forward` leaves the loss's
// gradient in the slot `logits`; the final norm's weight gradient is added by input_grad, the head's by
// weight_grad.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "optim/local_parameter.h"
#include "src/model/cross_entropy.h"
#include "src/model/model_context.h"
#include "src/model/parameter_store.h"

namespace lacuna {

struct HeadStash {
  HeadStash(std::byte* memory, const StashLayout& layout);
  at::Tensor input, norm, rstd, logits;
};

// The logits to keep: rows (tokens) of the micro-batch, and where they go, fp64 [row · local vocabulary];
// columns that only pad the vocabulary are minus infinity.
struct KeptLogits {
  const std::vector<std::int64_t>& tokens;
  std::vector<double>& values;
};

class HeadLoss {
 public:
  // The store holds the final norm and the head (or the tied copy of the embedding).
  HeadLoss(ModelContext& context, ParameterStore& store);
  // Returns the sum of token losses; copies the logits to keep before they become gradients.
  double forward(const HeadStash& stash, std::span<const std::int32_t> targets, double loss_scale,
                 const KeptLogits& keep) const;
  // grad [tokens/tp, hidden] receives the gradient of stash.input.
  void input_grad(const HeadStash& stash, const at::Tensor& grad) const;
  void weight_grad(const HeadStash& stash) const;

 private:
  ModelContext& context_;
  LocalParameter* norm_;
  LocalParameter* head_;
};

}  // namespace lacuna
