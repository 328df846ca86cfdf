#include "launch/train_verbs/planned_training.h"

#include "parallel/plan/make_schedule.h"

namespace lacuna {

ModelUse use_of(const TrainOptions& options) {
  return options.steps == 0 ? ModelUse::Frozen : ModelUse::Trained;
}

std::vector<RankBytes> predict_memory(const TrainOptions& o, const ModelConfig& model, bool cuda) {
  PlannedRun run;
  run.model = model;
  run.shape = {o.micro_batch, o.seq_len, o.tp, parse_dtype(o.dtype)};
  run.dp = o.dp;
  run.stash = o.recompute ? StashKind::Recompute : StashKind::Full;
  run.cuda = cuda;
  run.cuts.assign(o.cuts.begin(), o.cuts.end());
  run.frozen = use_of(o) == ModelUse::Frozen;
  const auto micros = static_cast<int>(o.global_batch / (o.micro_batch * o.dp));
  if (run.frozen) return planned_memory(make_forward_schedule(o.pp, micros, o.pieces), run);
  return planned_memory(make_schedule(o.schedule, o.pp, micros, o.bpipe, o.pieces, o.split_backward), run);
}

}  // namespace lacuna
