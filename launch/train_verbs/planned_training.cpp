#include "launch/train_verbs/planned_training.h"

#include "parallel/plan/make_schedule.h"
#include "src/arch/scratch.h"

namespace lacuna {

ModelUse use_of(const TrainOptions& options) {
  return options.steps == 0 ? ModelUse::Frozen : ModelUse::Trained;
}

namespace {

int micros_of(const TrainOptions& o) {
  return static_cast<int>(o.global_batch / (o.micro_batch * o.dp));
}

PlannedRun planned_run(const TrainOptions& o, const ModelConfig& model, bool cuda) {
  PlannedRun run;
  run.model = model;
  run.shape = {o.micro_batch, o.seq_len, o.tp, parse_dtype(o.dtype)};
  run.dp = o.dp;
  run.stash = o.recompute ? StashKind::Recompute : StashKind::Full;
  run.cuda = cuda;
  run.cuts.assign(o.cuts.begin(), o.cuts.end());
  run.frozen = use_of(o) == ModelUse::Frozen;
  return run;
}

// A frozen model under the student's layout (ModelRunner::distil_from).
std::vector<RankBytes> teacher_memory(const TrainOptions& o, const ModelConfig& student,
                                      const ModelConfig& teacher, bool cuda) {
  PlannedRun run = planned_run(o, teacher, cuda);
  run.frozen = true;
  if (teacher.layers != student.layers) run.cuts.clear();
  std::vector<RankBytes> stages = planned_memory(make_forward_schedule(o.pp, micros_of(o), o.pieces), run);
  stages.back().workspace += taught_bytes(teacher, run.shape, micros_of(o));
  return stages;
}

}  // namespace

std::vector<RankBytes> predict_memory(const TrainOptions& o, const ModelConfig& model, bool cuda,
                                      const ModelConfig* teacher) {
  const PlannedRun run = planned_run(o, model, cuda);
  const Schedule schedule =
      run.frozen ? make_forward_schedule(o.pp, micros_of(o), o.pieces)
                 : make_schedule(o.schedule, o.pp, micros_of(o), o.bpipe, o.pieces, o.split_backward);
  std::vector<RankBytes> stages = planned_memory(schedule, run);
  if (!teacher) return stages;
  const std::vector<RankBytes> beside = teacher_memory(o, model, *teacher, cuda);
  for (std::size_t stage = 0; stage < stages.size(); ++stage) stages[stage].teacher = beside[stage].total();
  return stages;
}

}  // namespace lacuna
