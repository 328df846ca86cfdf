// Runs steps of a Stage without an executor: every stash piece in memory of its own between sentinels, micro-
// batches and stages in a given order. Weights are made livelier than at a fresh start, equal in every
// layout.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/model/autograd_stage.h"
#include "src/model/llama_stage.h"

namespace lacuna::test {

// 2 layers, hidden 24, 4 query and 2 key/value heads of size 6, ffn 20, vocabulary 37.
ModelConfig small_config();

struct Problem {
  ModelConfig config = small_config();
  MicroShape shape{2, 7, 1, DType::F64};
  int micros = 2;
  double l1 = 0, l1_knee = 0;
  SoftTargets soft;
  std::vector<LayerRange> cuts;  // empty: one stage
  StashKind stash = StashKind::Full;
  int pieces = 1;
  enum class Order {
    Backward,  // Stage::backward, micro-batch by micro-batch
    Split,     // all input_grads first, then all weight_grads
  } order = Order::Backward;
  unsigned char stash_fill = 0;  // the stash's bytes before forward

  LlamaStageOptions options(Communicator* tp = nullptr) const;
  StepBatch batch() const;
};

// Multiplies matrices by `gain` and adds noise to norms and biases, keyed by global element.
void enliven(ParameterStore& store, double gain = 10);

struct Outcome {
  std::vector<double> losses;               // per micro-batch
  std::map<std::string, at::Tensor> grads;  // "name" or "name (tied)", copies
  std::vector<at::Tensor> boundary_grads;   // gradients that passed between stages, in order of making
};

// One step from cleared gradients. Fails the test when a sentinel was overwritten.
Outcome run_step(Stage& stage, ParameterStore& store, const Problem& problem,
                 const std::function<double(int)>& micro_loss);

// Begins the step and runs it.
Outcome run_llama(LlamaStage& stage, const Problem& problem);
Outcome run_autograd(AutogradStage& stage, const Problem& problem);
// With a fresh, enlivened model.
Outcome run_llama(const Problem& problem, double gain = 10);
Outcome run_autograd(const Problem& problem, double gain = 10);

// max |a − b| / max |b|; a b of zeros counts as large as `size_of_zero`.
double relative_difference(const at::Tensor& a, const at::Tensor& b, double size_of_zero);
// The largest over all gradients; names the worst one. Gradients that b has as exact zeros are measured
// against b's largest.
double worst_difference(const Outcome& a, const Outcome& b, std::string* worst);
// Losses, gradients, boundary gradients: the same bits.
void expect_equal_bits(const Outcome& a, const Outcome& b, const std::string& what);

}  // namespace lacuna::test
