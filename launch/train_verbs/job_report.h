// What rank 0 says of a training job: what it is, its memory before and after, its result.
#pragma once

#include <vector>

#include "launch/train_verbs/training_job.h"
#include "parallel/plan/memory.h"
#include "src/arch/model_config.h"
#include "src/base/json.h"
#include "src/train/memory_report.h"
#include "src/train/trainer.h"

namespace lacuna {

void report_start(const TrainingJob& job, const std::string& parent, const ModelConfig& child,
                  const ParallelContext& context);
void report_teacher(const std::string& description, const ModelConfig& config, double share);
// Predicted bytes by class, a line a stage.
void report_memory(const std::vector<RankBytes>& stages);
// Predicted against measured memory of the GPUs, the status file, and the result: an object with --json.
// `report`: the recipe's, may be empty.
void report_end(const TrainingJob& job, const TrainResult& result, const Json& report,
                const std::vector<GpuMemory>& gpus, int code);

}  // namespace lacuna
