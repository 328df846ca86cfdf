// The routed FFN: experts that are on or off for each token, between the product of ffn_glu and the down
// projection (src/arch/routed_ffn.h has the formulas). Every neuron is computed and those of experts that are
// off are multiplied by 0: exact, and any token may have any experts. Scores are made once for each token, on
// the tensor-parallel rank that has it, so all ranks switch alike; their gradients come back the same way.
// Which experts are on is a constant for the gradient, as are random and oracle scores.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "optim/local_parameter.h"
#include "src/model/ffn_glu.h"
#include "src/model/model_context.h"
#include "src/model/parameter_store.h"

namespace lacuna {

struct BlockStash;

class ExpertRouting {
 public:
  // References into the store and the context, which outlive this. The configuration is routed.
  ExpertRouting(ModelContext& context, ParameterStore& store, int layer);

  // After the product: scores the experts and writes their gates into the stash, and the product times the
  // gates into `gated` [tokens, local neurons]. Returns, on its device, how many zeros that has and the sum
  // of its magnitudes: [2] doubles.
  at::Tensor forward(const BlockStash& stash, const at::Tensor& gated) const;
  // Adds the means of the experts that are off to the block's output [tokens/tp, hidden].
  void add_means(const BlockStash& stash, const at::Tensor& output) const;

  // product_grad: the gradient of the gated product, without the penalty's part, on entry; of the product on
  // return. The stash's product becomes the gated one, its scores become their gradients.
  void product_grad(const BlockStash& stash, const at::Tensor& product_grad, const Penalty& l1) const;
  // Adds the routers' part to the gradient of the FFN's input, of this rank's tokens.
  void add_input_grad(const BlockStash& stash, const at::Tensor& grad) const;
  // After input_grad, from the stash's second layout.
  void weight_grad(const BlockStash& stash) const;

 private:
  // This rank's neurons [begin, begin + count) of an expert.
  struct Part {
    std::int64_t expert = 0, begin = 0, count = 0;
  };

  at::Tensor own(const at::Tensor& all) const;  // this rank's tokens
  at::Tensor scores(const BlockStash& stash) const;
  at::Tensor oracle_scores(const BlockStash& stash) const;
  at::Tensor choose(const at::Tensor& scores) const;
  void score_grad(const BlockStash& stash, const at::Tensor& gate_grad) const;
  at::Tensor row_values(const BlockStash& stash) const;
  void row_grad(const BlockStash& stash, const at::Tensor& grad) const;
  at::Tensor expert_rows(const at::Tensor& rows) const;  // [tokens, E·r] as [tokens, E, r]

  ModelContext& context_;
  RoutedFfn routed_;
  std::int64_t active_ = 0, shared_ = 0;  // shared_: of this rank
  std::vector<Part> parts_;
  LocalParameter *weight_ = nullptr, *gate_ = nullptr, *up_ = nullptr, *bias_ = nullptr, *scale_ = nullptr,
                 *mean_ = nullptr, *down_ = nullptr;
  at::Tensor random_;  // [seq_len, E] scores of the random router
};

}  // namespace lacuna
