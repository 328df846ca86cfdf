#include "recipes/common/calibration_run.h"

#include "src/base/math.h"

namespace lacuna {

std::int64_t CalibrationRun::passes_for(std::int64_t tokens) const {
  return ceil_div(tokens, options.global_batch * options.seq_len);
}

void CalibrationRun::show_inputs(const ModelConfig& config, const SlabSource& weights, std::int64_t first,
                                 std::int64_t count, const LlamaStage::TokenObserver& observer) {
  ModelRunner model(context, options, config);
  model.load(weights, false);
  for (std::int64_t pass = first; pass < first + count; ++pass)
    model.calibrate_inputs(batches.train(pass), observer);
  model.close();
}

void CalibrationRun::show_products(std::int64_t first, std::int64_t count,
                                   const LlamaStage::FfnObserver& observer) {
  ModelRunner model(context, options, parent);
  model.load(parent_weights, false);
  for (std::int64_t pass = first; pass < first + count; ++pass)
    model.calibrate(batches.train(pass), observer);
  model.close();
}

void CalibrationRun::show_output_grads(std::int64_t first, std::int64_t count,
                                       const LlamaStage::TokenObserver& observer) {
  ModelRunner model(context, options, parent);
  model.load(parent_weights, false);
  for (std::int64_t pass = first; pass < first + count; ++pass)
    model.calibrate_output_grads(batches.train(pass), observer);
  model.close();
}

}  // namespace lacuna
