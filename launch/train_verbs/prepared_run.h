// What a training job reads and makes before its first step: data, parent and teacher, the calibration that a
// recipe wants, the child and its weights.
#pragma once

#include <memory>
#include <optional>

#include "launch/train_verbs/parent_model.h"
#include "launch/train_verbs/training_job.h"
#include "recipes/common/calibration_run.h"
#include "src/base/json.h"
#include "src/train/model_runner.h"
#include "src/train/token_batches.h"
#include "src/train/trainer.h"

namespace lacuna {

// What local set-up yields on each rank.
struct Prepared {
  ParentModel parent;
  std::optional<ParentModel> teacher;  // with --distil
  ModelConfig child;
  std::optional<TokenBatches> batches;
  RunFacts facts;
};

// Everything that one rank can do and check alone.
Prepared prepare(TrainingJob& job, const ParallelContext& context);
// Whether this run has no step to go on from. Where it has one, its model is the child: what comes out of a
// calibration is not known again without it. (Whether the step can be trusted is for the trainer to say.)
// Collective.
bool first_time(const TrainingJob& job, ParallelContext& context, Prepared& ready);
// Calibration, and the model that comes out of it. The run is still open: its parent may serve the child.
// Collective.
std::unique_ptr<CalibrationRun> calibrate(const TrainingJob& job, ParallelContext& context, Prepared& ready);
// Says where the time went, and lets the parent go; nothing without a calibration. Collective.
void end_calibration(std::unique_ptr<CalibrationRun>& run);
// The recipe's table of its child and the controls; empty when it has none. Collective.
Json report_on_variants(const TrainingJob& job, ParallelContext& context, const Prepared& ready);
// The weights of a run that begins. A model that takes no step finds the calibration's parent at hand; null:
// there was none. Collective.
void fill(const TrainingJob& job, const Prepared& ready, CalibrationRun* calibration, ModelRunner& runner);

}  // namespace lacuna
