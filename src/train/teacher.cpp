#include "src/train/teacher.h"

#include <ATen/ATen.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/executor.h"
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

  void schedule_for(int count) {
    if (count == micros) return;
    if (executor) executor->close();
    micros = count;
    schedule = make_forward_schedule(context.topology.pp, count, stage.options().pieces);
    executor =
        std::make_unique<Executor>(schedule, context.model_pp(), stage, context.progress, *context.device);
    if (last) targets.states.assign(static_cast<std::size_t>(count), {});
  }
};

Teacher::Teacher(ParallelContext& context, LlamaStageOptions stage, const SlabSource& weights)
    : state_(std::make_unique<State>(context, std::move(stage))) {
  load_frozen(state_->stage.parameters(), weights);
}

Teacher::~Teacher() = default;

SoftTargets Teacher::targets(StepBatch batch, double share) {
  State& s = *state_;
  s.schedule_for(batch.micros);
  batch.gradients = false;
  s.stage.begin_step(std::move(batch));
  s.executor->run();
  s.targets.share = share;
  return s.targets;
}

void Teacher::close() {
  if (state_->executor) state_->executor->close();
}

}  // namespace lacuna
