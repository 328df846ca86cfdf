#include "src/train/teacher.h"

#include <ATen/ATen.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/plan/memory.h"
#include "parallel/run/executor.h"
#include "src/arch/scratch.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

LlamaStageOptions frozen(LlamaStageOptions stage) {
  stage.frozen = true;
  return stage;
}

}  // namespace

struct Teacher::State {
  ParallelContext& context;
  LlamaStage stage;
  bool last;
  int micros = 0;
  Schedule schedule;
  std::unique_ptr<Executor> executor;  // refers to the schedule
  SoftTargets targets;

  State(ParallelContext& c, LlamaStageOptions options)
      : context(c), stage(frozen(std::move(options))), last(c.place.pp == c.topology.pp - 1) {
    stage.observe_states([this](int micro, const at::Tensor& states) {
      at::Tensor& kept = targets.states.at(static_cast<std::size_t>(micro));
      if (!kept.defined()) kept = at::empty_like(states);
      kept.copy_(states);
    });
    if (!last) return;
    ParameterStore& store = stage.parameters();
    targets.head = stage.options().config.tied_embeddings ? store.at("model.embed_tokens.weight", true).weight
                                                          : store.at("lm_head.weight").weight;
  }

  // The executor of a pass over such a batch, ready to run.
  void prepare(const StepBatch& batch) {
    if (batch.micros == micros) return;
    if (executor) executor->close();
    micros = batch.micros;
    schedule = make_forward_schedule(context.topology.pp, micros, stage.options().pieces);
    executor =
        std::make_unique<Executor>(schedule, context.model_pp(), stage, context.progress, *context.device);
    if (last) targets.states.assign(static_cast<std::size_t>(micros), {});
    if (!context.model_device.is_cuda() || context.topology.pp == 1) return;
    stage.begin_step(batch);
    executor->rehearse();
  }
};

Teacher::Teacher(ParallelContext& context, LlamaStageOptions stage, const SlabSource& weights)
    : state_(std::make_unique<State>(context, std::move(stage))) {
  load_frozen(state_->stage.parameters(), weights);
}

Teacher::~Teacher() = default;

SoftTargets Teacher::targets(StepBatch batch, double share) {
  State& s = *state_;
  batch.gradients = false;
  s.prepare(batch);
  s.stage.begin_step(std::move(batch));
  s.executor->run();
  s.targets.share = share;
  return s.targets;
}

std::size_t Teacher::bytes(int micros) const {
  State& s = *state_;
  const LlamaStageOptions& o = s.stage.options();
  const int me = s.context.place.pp, stages = s.context.topology.pp;
  RankSizes mine;
  for (const LocalParameter& p : s.stage.parameters().all())
    if (!p.tied_copy || stages > 1) mine.weights += p.weight.nbytes();
  mine.boundary_bytes = s.stage.boundary_bytes();
  mine.workspace = scratch_bytes(o.config, o.shape, o.stash, s.last, s.context.model_device.is_cuda());
  if (s.last) mine.workspace += taught_bytes(o.config, o.shape, micros);
  for (int piece = 0; piece < o.pieces; ++piece) mine.piece_bytes.push_back(s.stage.piece_bytes(me, piece));
  // Of the other ranks nothing counts here: a forward pass moves no stash.
  const std::vector<RankSizes> sizes(static_cast<std::size_t>(stages), mine);
  return memory_by_class(make_forward_schedule(stages, micros, o.pieces), sizes)[static_cast<std::size_t>(me)]
      .total();
}

void Teacher::close() {
  if (state_->executor) state_->executor->close();
}

}  // namespace lacuna
