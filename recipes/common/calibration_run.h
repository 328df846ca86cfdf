// The passes that a recipe may ask for before there is a child: forward and backward passes of any model of
// the parent's size over training data, under the layout of the run. Sequences come from the token file in
// the order in which training would see them, so every layout sees the same ones.
#pragma once

#include <cstdint>
#include <string>

#include "src/train/batches.h"
#include "src/train/model_runner.h"
#include "src/train/options.h"
#include "src/train/parallel_context.h"
#include "src/train/snapshot.h"

namespace lacuna {

class CalibrationRun {
 public:
  // All references outlive the run.
  CalibrationRun(ParallelContext& context, const TrainOptions& options, const BatchSource& batches,
                 const ModelConfig& parent, SlabSource parent_weights, std::string data_identity = "")
      : context(context),
        options(options),
        batches(batches),
        parent(parent),
        parent_weights(std::move(parent_weights)),
        data_identity(std::move(data_identity)) {}

  ParallelContext& context;
  const TrainOptions& options;
  const BatchSource& batches;
  const ModelConfig& parent;
  const SlabSource parent_weights;
  const std::string data_identity;  // of the token file

  // Passes of one global batch that hold at least `tokens` tokens.
  std::int64_t passes_for(std::int64_t tokens) const;
  // Every FFN's input in forward passes first .. first + count - 1 of `config` with `weights`. Collective.
  void show_inputs(const ModelConfig& config, const SlabSource& weights, std::int64_t first,
                   std::int64_t count, const LlamaStage::TokenObserver& observer);
  // The parent's gate, up and product, of this rank's neurons; see LlamaStage::FfnObserver.
  void show_products(std::int64_t first, std::int64_t count, const LlamaStage::FfnObserver& observer);
  // The loss's gradient by every FFN's output of the parent, likewise.
  void show_output_grads(std::int64_t first, std::int64_t count, const LlamaStage::TokenObserver& observer);

 private:
  // show(model, batch) for each of these passes, over one model with these weights.
  template <class Show>
  void each_pass(const ModelConfig& config, const SlabSource& weights, std::int64_t first, std::int64_t count,
                 Show&& show);
};

}  // namespace lacuna
