// The numbers of one step, agreed over all ranks by a single all-gather: stop flags, losses, FFN counts and
// the gradient norm. Every rank adds the same values in the same canonical order, so the results, and with
// them every decision, are equal on all ranks and under every pipeline cut (docs/numerics.md).
#pragma once

#include <vector>

#include "src/model/llama_stage.h"
#include "src/train/parallel_context.h"
#include "src/train/stop_signals.h"

namespace lacuna {

struct StepReport {
  double loss_sum = 0;  // nats over all scored tokens, fp64
  double divergence_sum = 0;  // likewise KL(teacher ‖ model); 0 without a teacher
  double grad_norm = 0;
  bool save_asked = false, stop_asked = false;
  std::vector<double> zeros_per_layer;  // share of exact zeros of the FFN product
  std::vector<double> l1_per_layer;     // mean over tokens of sum |product|
};

class StepReporter {
 public:
  StepReporter(ParallelContext& context, const ModelConfig& config, const ParameterStore& parameters);
  // Collective over the world. squared_norms: of the owned gradients, in the order of parameters.all();
  // empty for an evaluation (no norm). `micros` losses are taken from the stage.
  StepReport gather(const LlamaStage& stage, int micros, const std::vector<double>& squared_norms,
                    const SignalFlags& signals);

 private:
  ParallelContext& context_;
  int layers_;
  std::int64_t ffn_;
  std::size_t parameter_count_;
  std::vector<std::size_t> canonical_;  // [local parameter] -> place in the global table
};

}  // namespace lacuna
