// The run that options ask for, as the planner sees it: bytes of each class, from the tables alone. Said
// before anything is allocated, so that a run that does not fit has named what does not.
#pragma once

#include <vector>

#include "launch/plan_memory.h"
#include "src/train/model_runner.h"
#include "src/train/options.h"

namespace lacuna {

// A model that takes no step has no gradients and no optimizer.
ModelUse use_of(const TrainOptions& options);

// `options` are complete. One entry a stage: its first tensor- and data-parallel rank (the first owns most).
// `cuda`: for GPUs; `teacher`: the model to distil from, null without. Error(Usage) when layers do not fit
// the stages.
std::vector<RankBytes> predict_memory(const TrainOptions& options, const ModelConfig& model, bool cuda,
                                      const ModelConfig* teacher = nullptr);

}  // namespace lacuna
