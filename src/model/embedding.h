// Token embedding, split by vocabulary over tensor-parallel ranks: each rank looks up what it holds, the
// rest is zero, and the sum over ranks lands as token shards. One addend is not zero, so the sum is exact.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "optim/local_parameter.h"
#include "src/model/cuda/ops.h"
#include "src/model/token_shards.h"

namespace lacuna {

// Token ids of a micro-batch: on the host, and on the model's device where that is another one.
struct TokenIds {
  std::span<const std::int32_t> host;
  at::Tensor device;  // int32 [tokens]; undefined on the CPU
};

// out [tokens/tp, hidden] receives this rank's rows. `all` [tokens, hidden] is scratch for tp > 1.
void embed(const LocalParameter& table, const TokenIds& tokens, const TokenShards& shards,
           const at::Tensor& out, const at::Tensor& all);

// Adds the rows of grad [tokens/tp, hidden] to the table's gradient, in token order. `by_row`: the tokens by
// table row (CUDA only).
void embed_grad(LocalParameter& table, const TokenIds& tokens, const on_cuda::RowIndex& by_row,
                const TokenShards& shards, const at::Tensor& grad, const at::Tensor& all);

}  // namespace lacuna
