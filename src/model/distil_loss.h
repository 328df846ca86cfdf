// Cross-entropy against a mixture of the next token and a teacher's probabilities (knowledge distillation,
// arXiv 1503.02531, at temperature 1): the target of a row is (1 - share)·onehot + share·softmax(teacher).
// The vocabulary may be shared by tensor-parallel ranks; row statistics are reduced, logits are not moved.
#pragma once

#include <ATen/core/Tensor.h>

#include "src/model/cross_entropy.h"

namespace lacuna {

// What a row is compared with besides its token. logits: [tokens, columns], the teacher's, as the student's
// are. divergence: one double on the same device, to which Σ KL(teacher ‖ student) in nats over scored rows
// is added.
struct Teaching {
  at::Tensor logits, divergence;
  double share = 0;
};

// As cross_entropy: logits become the gradient of scale · Σ loss over scored rows, padding gets zero. What is
// added to `loss` is the cross-entropy of the next token alone, so that runs with and without a teacher
// compare.
void distil_loss(const at::Tensor& logits, const Teaching& teaching, const TokenIds& targets,
                 VocabColumns columns, double scale, const TokenShards& shards, const at::Tensor& loss);

}  // namespace lacuna
