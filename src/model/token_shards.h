// Sequence parallelism: with tensor parallelism every rank holds an equal, contiguous chunk of a
// micro-batch's tokens wherever features are not split. These two moves lead from chunks to all tokens and
// back; with one rank neither moves a byte.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/run/communicator.h"

namespace lacuna {

class TokenShards {
 public:
  explicit TokenShards(Communicator* tp) : tp_(tp) {}
  int size() const { return tp_ ? tp_->size() : 1; }
  int rank() const { return tp_ ? tp_->rank() : 0; }
  Communicator* communicator() const { return tp_; }

  // All tokens [tokens, n] of the chunks `mine` [tokens/tp, n], in `all`; `mine` itself with one rank.
  at::Tensor gather(const at::Tensor& mine, const at::Tensor& all) const;
  // The own chunk of the sum over ranks of `partial` [tokens, n], in `mine`; `partial` itself with one rank.
  at::Tensor scatter_sum(const at::Tensor& partial, const at::Tensor& mine) const;

 private:
  Communicator* tp_;
};

}  // namespace lacuna
