#include "recipes/common/calibration_run.h"

#include <utility>

#include "src/base/math.h"

namespace lacuna {

std::int64_t CalibrationRun::passes_for(std::int64_t tokens) const {
  return ceil_div(tokens, options.global_batch * options.seq_len);
}

template <class Show>
void CalibrationRun::each_pass(const ModelConfig& config, const SlabSource& weights, std::int64_t first,
                               std::int64_t count, Show&& show) {
  ModelRunner model(context, options, config);
  model.load(weights, false);
  for (std::int64_t pass = first; pass < first + count; ++pass) show(model, batches.train(pass));
  model.close();
}

void CalibrationRun::show_inputs(const ModelConfig& config, const SlabSource& weights, std::int64_t first,
                                 std::int64_t count, const LlamaStage::TokenObserver& observer) {
  each_pass(config, weights, first, count,
            [&](ModelRunner& model, StepBatch batch) { model.calibrate_inputs(std::move(batch), observer); });
}

void CalibrationRun::show_products(std::int64_t first, std::int64_t count,
                                   const LlamaStage::FfnObserver& observer) {
  each_pass(parent, parent_weights, first, count,
            [&](ModelRunner& model, StepBatch batch) { model.calibrate(std::move(batch), observer); });
}

void CalibrationRun::show_output_grads(std::int64_t first, std::int64_t count,
                                       const LlamaStage::TokenObserver& observer) {
  each_pass(parent, parent_weights, first, count, [&](ModelRunner& model, StepBatch batch) {
    model.calibrate_output_grads(std::move(batch), observer);
  });
}

}  // namespace lacuna
