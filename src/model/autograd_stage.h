// Any differentiable module as a Stage: the stash is the stage's input alone, and the backward pass runs the
// module again under autograd. Slow and sure: the oracle of the tests, and the first form of a recipe's new
// layer. All gradients are made by input_grad; weight_grad has nothing left to do. No tensor parallelism.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <span>

#include "src/model/llama_stage.h"
#include "src/model/reference_model.h"

namespace lacuna {

// What a module is given for one micro-batch. Tensors require gradients where the pass needs them.
struct ModuleCall {
  LayerRange layers;
  bool first = false, last = false;
  at::Tensor input;  // [sequences, seq_len, hidden]; undefined on the first stage, which reads tokens
  std::span<const std::int32_t> tokens, targets;
  std::int64_t sequences = 1;
  WeightOf weight, head_weight;  // by name; head_weight gives the head's side of a tied embedding
};

struct ModuleResult {
  at::Tensor output;   // the next stage's input; on the last stage the sum of token losses
  at::Tensor penalty;  // a scalar added to the loss as it is, or undefined
};

class AutogradStage : public Stage {
 public:
  using Module = std::function<ModuleResult(const ModuleCall&)>;

  // Without a module: the reference model with the penalty of StepBatch::l1.
  explicit AutogradStage(LlamaStageOptions options, Module module = {});
  ~AutogradStage() override;

  ParameterStore& parameters();
  void begin_step(StepBatch batch);
  double micro_loss(int micro) const;

  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override;
  void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                  StashPieces stash) override;
  void weight_grad(int stage, int micro, StashPieces stash) override;
  void reduce(int stage) override;
  std::size_t boundary_bytes() const override;
  std::size_t piece_bytes(int stage,
                          int piece) const override;  // piece 0 holds the input, the others nothing

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
