#include "recipes/common/calibration_run.h"

#include <utility>

#include "src/base/math.h"

namespace lacuna {

CalibrationRun::CalibrationRun(ParallelContext& run_context, const TrainOptions& run_options,
                               const BatchSource& run_batches, const ModelConfig& run_parent,
                               SlabSource weights, std::string identity, TensorSource ready)
    : context(run_context),
      options(run_options),
      batches(run_batches),
      parent(run_parent),
      parent_weights(std::move(weights)),
      parent_ready(std::move(ready)),
      data_identity(std::move(identity)),
      clock(run_context.model_device) {}

std::int64_t CalibrationRun::passes_for(std::int64_t tokens) const {
  return ceil_div(tokens, options.global_batch * options.seq_len);
}

ModelRunner& CalibrationRun::parent_model() {
  if (!parent_model_)
    clock.in("parent", [&] {
      parent_model_ = std::make_unique<ModelRunner>(context, options, parent, ModelUse::Frozen);
      parent_model_->load(parent_weights, false, parent_ready);
    });
  return *parent_model_;
}

template <class Show>
void CalibrationRun::each_pass(const char* phase, std::int64_t first, std::int64_t count, Show&& show) {
  clock.in(phase, [&] {
    for (std::int64_t pass = first; pass < first + count; ++pass) show(batches.train(pass));
  });
}

void CalibrationRun::show_inputs(std::int64_t first, std::int64_t count,
                                 const LlamaStage::TokenObserver& observer) {
  ModelRunner& model = parent_model();
  each_pass("inputs", first, count,
            [&](StepBatch batch) { model.calibrate_inputs(std::move(batch), observer); });
}

void CalibrationRun::show_inputs(const ModelConfig& config, const SlabSource& weights,
                                 const TensorSource& ready, std::int64_t first, std::int64_t count,
                                 const LlamaStage::TokenObserver& observer) {
  ModelRunner model(context, options, config, ModelUse::Frozen);
  clock.in("child", [&] { model.load(weights, false, ready); });
  each_pass("child's inputs", first, count,
            [&](StepBatch batch) { model.calibrate_inputs(std::move(batch), observer); });
  model.close();
}

void CalibrationRun::show_products(std::int64_t first, std::int64_t count,
                                   const LlamaStage::FfnObserver& observer) {
  ModelRunner& model = parent_model();
  each_pass("products", first, count, [&](StepBatch batch) { model.calibrate(std::move(batch), observer); });
}

void CalibrationRun::show_output_grads(std::int64_t first, std::int64_t count,
                                       const LlamaStage::TokenObserver& observer) {
  ModelRunner& model = parent_model();
  each_pass("gradients", first, count,
            [&](StepBatch batch) { model.calibrate_output_grads(std::move(batch), observer); });
}

TensorSource CalibrationRun::resident() {
  return ready_weights(parent_model().weights());
}

FfnWeights CalibrationRun::ffn(int layer) const {
  return read_ffn(parent_weights, parent, layer, context.model_device, parent_ready);
}

void CalibrationRun::close() {
  if (parent_model_) parent_model_->close();
  parent_model_.reset();
}

}  // namespace lacuna
