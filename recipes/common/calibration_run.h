// The passes that a recipe may ask for before there is a child: forward and backward passes of any model of
// the parent's size over training data, under the layout of the run. Sequences come from the token file in
// the order in which training would see them, so every layout sees the same ones. All models are frozen
// (src/train/model_runner.h); the parent is loaded once, when it is first needed, and stays until close().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "recipes/common/ffn_weights.h"
#include "src/train/batches.h"
#include "src/train/model_runner.h"
#include "src/train/options.h"
#include "src/train/parallel_context.h"
#include "src/train/phase_clock.h"
#include "src/train/snapshot.h"

namespace lacuna {

class CalibrationRun {
 public:
  // All references outlive the run. parent_ready: where the parent's weights lie as they are stored (mapped
  // files); null: nowhere.
  CalibrationRun(ParallelContext& context, const TrainOptions& options, const BatchSource& batches,
                 const ModelConfig& parent, SlabSource parent_weights, std::string data_identity = "",
                 TensorSource parent_ready = nullptr);

  ParallelContext& context;
  const TrainOptions& options;
  const BatchSource& batches;
  const ModelConfig& parent;
  const SlabSource parent_weights;
  const TensorSource parent_ready;
  const std::string data_identity;  // of the token file
  PhaseClock clock;                 // of the calibration; a recipe names its phases

  // Passes of one global batch that hold at least `tokens` tokens.
  std::int64_t passes_for(std::int64_t tokens) const;
  // Every FFN's input in forward passes first .. first + count - 1 of the parent; or of `config` with
  // `weights`, some of which may be `ready`. Collective.
  void show_inputs(std::int64_t first, std::int64_t count, const LlamaStage::TokenObserver& observer);
  void show_inputs(const ModelConfig& config, const SlabSource& weights, const TensorSource& ready,
                   std::int64_t first, std::int64_t count, const LlamaStage::TokenObserver& observer);
  // The parent's gate, up and product, of this rank's neurons; see LlamaStage::FfnObserver.
  void show_products(std::int64_t first, std::int64_t count, const LlamaStage::FfnObserver& observer);
  // The loss's gradient by every FFN's output of the parent, likewise.
  void show_output_grads(std::int64_t first, std::int64_t count, const LlamaStage::TokenObserver& observer);

  // The parent's weights on this rank, in the compute type and on the model's device. Collective at its first
  // use; valid until close().
  TensorSource resident();
  // One layer's whole FFN in single precision on the model's device.
  FfnWeights ffn(int layer) const;
  // Lets the parent go. Collective.
  void close();

 private:
  // show(batch) for each of these passes, timed as `phase`.
  template <class Show>
  void each_pass(const char* phase, std::int64_t first, std::int64_t count, Show&& show);
  ModelRunner& parent_model();
  std::unique_ptr<ModelRunner> parent_model_;
};

}  // namespace lacuna
