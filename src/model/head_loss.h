// Final norm, vocabulary-parallel head and cross-entropy of the last stage. The logits exist only for
// head_rows tokens at a time: `forward` makes them, scores them, and at once turns them into what the
// backward pass needs of them, the gradient of the norm's output (in the slot `norm`) and the head's weight
// gradient, which it adds (not in a frozen model). What input_grad is left with is the norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "optim/local_parameter.h"
#include "src/model/cross_entropy.h"
#include "src/model/distil_loss.h"
#include "src/model/embedding.h"
#include "src/model/model_context.h"
#include "src/model/parameter_store.h"

namespace lacuna {

struct HeadStash {
  HeadStash(std::byte* memory, const StashLayout& layout, at::Device device);
  at::Tensor input, norm, rstd;
};

// The logits to keep: rows (tokens) of the micro-batch, and where they go, fp64 [row · local vocabulary];
// columns that only pad the vocabulary are minus infinity.
struct KeptLogits {
  const std::vector<std::int64_t>& tokens;
  std::vector<double>& values;
};

// A frozen teacher's view of the micro-batch (src/model/soft_targets.h); share 0: no teacher.
struct TeacherRows {
  at::Tensor states, head, divergence;
  double share = 0;
};

class HeadLoss {
 public:
  // The store holds the final norm and the head (or the tied copy of the embedding).
  HeadLoss(ModelContext& context, ParameterStore& store);
  // Adds the sum of token losses to the double at `loss` (on the model's device). Without `gradients` (a
  // forward-only pass) the slot `norm` stays what the norm wrote and no gradient is touched.
  void forward(const HeadStash& stash, const TokenIds& targets, double loss_scale, bool gradients,
               const KeptLogits& keep, const at::Tensor& loss, const TeacherRows& teacher = {});
  // The final norm alone: fills the slot `norm`.
  void normalise(const HeadStash& stash) const;
  // grad [tokens/tp, hidden] receives the gradient of stash.input.
  void input_grad(const HeadStash& stash, const at::Tensor& grad) const;

 private:
  void keep_rows(const at::Tensor& logits, std::int64_t first, const KeptLogits& keep) const;
  // The teacher's final states of all tokens of the micro-batch; undefined without a teacher.
  at::Tensor gather_states(const TeacherRows& teacher);

  ModelContext& context_;
  LocalParameter* norm_;
  LocalParameter* head_;
  VocabColumns columns_;
  at::Tensor logits_;                   // [head_rows, local vocabulary]
  at::Tensor taught_, teacher_logits_;  // of a teacher, made when one is first seen
};

}  // namespace lacuna
