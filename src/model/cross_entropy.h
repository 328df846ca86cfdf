// Cross-entropy over a vocabulary that tensor-parallel ranks share: row statistics (maximum, sum of
// exponentials, target logit) are reduced over the ranks, the logits are not moved.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "src/model/embedding.h"
#include "src/model/token_shards.h"

namespace lacuna {

// This rank's columns are the vocabulary's [first, first + valid); columns from `valid` on are padding.
struct VocabColumns {
  std::int64_t first = 0, valid = 0;
};

// logits [tokens, columns] become the gradient of scale · Σ loss; rows with target -1 and padding get zero.
// Adds Σ loss in nats over rows with a target, summed in double, to the double at `loss` (on the logits'
// device): the same on every rank.
void cross_entropy(const at::Tensor& logits, const TokenIds& targets, VocabColumns columns, double scale,
                   const TokenShards& shards, const at::Tensor& loss);

}  // namespace lacuna
