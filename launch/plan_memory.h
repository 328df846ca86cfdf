// Bytes of a training run by rank and class, from the model's tables alone: what `lacuna plan` prints and
// what the trainer will hold.
#pragma once

#include <vector>

#include "parallel/plan/memory.h"
#include "parallel/plan/schedule.h"
#include "src/arch/model_config.h"
#include "src/arch/stash_layout.h"

namespace lacuna {

struct PlannedRun {
  ModelConfig model;
  MicroShape shape;  // one micro-batch; tp and compute type included
  int dp = 1;
  StashKind stash = StashKind::Full;
  bool cuda = false;      // for GPUs: their libraries' workspace
  bool frozen = false;    // no step is taken: neither gradients nor optimizer
  std::vector<int> cuts;  // layers of each stage; empty: even
};

// Bytes of the first tensor- and data-parallel rank of each stage (the first owns most). One entry a rank of
// the schedule. Error(Usage) when layers do not fit the stages.
std::vector<RankBytes> planned_memory(const Schedule& schedule, const PlannedRun& run);

}  // namespace lacuna
