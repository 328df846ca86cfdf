// One transformer block over an explicit stash: forward fills it, input_grad rewrites it in place into its
// second layout (src/arch/stash_layout.h), weight_grad reads that. No autograd. The gradients of the norms'
// weights are added by input_grad, which has what they need; all others by weight_grad.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "optim/local_parameter.h"
#include "src/model/ffn_glu.h"
#include "src/model/ffn_routed.h"
#include "src/model/model_context.h"
#include "src/model/parameter_store.h"

namespace lacuna {

// Views of the slots; those of qk_norm and of routed FFNs are undefined without them.
struct BlockStash {
  BlockStash(std::byte* memory, const StashLayout& layout, at::Device device);
  at::Tensor input, norm1, query, key, value, context, middle, norm2, gate, up, product, lse, rstd1, rstd2;
  at::Tensor query_raw, key_raw, query_rstd, key_rstd;
  at::Tensor experts, score, router_gate, router_up;
};

class Block {
 public:
  // References into the store and the context, which outlive the block. `layer` is the global index.
  Block(ModelContext& context, ParameterStore& store, int layer);
  int layer() const { return layer_; }

  // Reads stash.input, fills the rest, writes the block's output [tokens/tp, hidden] unless it is undefined
  // (recompute, which does not need it). Adds what the FFN's products count to `tally`.
  void forward(const BlockStash& stash, const at::Tensor& output, ProductCounts& tally) const;
  // grad [tokens/tp, hidden]: the gradient of the output on entry, of the input on return. l1 prices
  // the products.
  void input_grad(const BlockStash& stash, const at::Tensor& grad, Penalty l1) const;
  void weight_grad(const BlockStash& stash) const;

 private:
  // Null where the configuration has no such parameter.
  struct Weights {
    LocalParameter *norm1 = nullptr, *query = nullptr, *key = nullptr, *value = nullptr,
                   *query_bias = nullptr, *key_bias = nullptr, *value_bias = nullptr, *query_norm = nullptr,
                   *key_norm = nullptr, *output = nullptr, *norm2 = nullptr, *gate = nullptr, *up = nullptr,
                   *down = nullptr;
  };

  void attention_forward(const BlockStash& stash) const;
  void ffn_input_grad(const BlockStash& stash, const at::Tensor& grad, Penalty l1) const;
  void attention_input_grad(const BlockStash& stash, const at::Tensor& grad) const;
  // y = residual + the sum over ranks of x·Wᵀ for this rank's tokens.
  void row_parallel(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                    const at::Tensor& y) const;

  ModelContext& context_;
  int layer_;
  Weights weights_;
  std::optional<ExpertRouting> routing_;
};

}  // namespace lacuna
