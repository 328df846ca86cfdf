#include "src/train/model_runner.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "parallel/plan/make_schedule.h"
#include "src/arch/scratch.h"
#include "src/base/error.h"
#include "src/model/cuda/ops.h"
#include "src/train/route_recorder.h"
#include "src/train/teacher.h"

namespace lacuna {

namespace {

LlamaStageOptions stage_options(const ParallelContext& context, const TrainOptions& options,
                                const ModelConfig& config, ModelUse use) {
  LlamaStageOptions stage;
  stage.frozen = use == ModelUse::Frozen;
  stage.config = config;
  stage.shape = {options.micro_batch, options.seq_len, options.tp, parse_dtype(options.dtype)};
  stage.stash = options.recompute ? StashKind::Recompute : StashKind::Full;
  stage.cuts = cut_layers(static_cast<int>(config.layers), options.pp,
                          std::vector<int>(options.cuts.begin(), options.cuts.end()));
  stage.my_stages = {context.place.pp};
  stage.pieces = options.pieces;
  stage.tp = &context.model_tp();
  stage.device = context.model_device;
  return stage;
}

std::int64_t scored(const std::vector<std::int32_t>& targets) {
  return std::count_if(targets.begin(), targets.end(), [](std::int32_t t) { return t >= 0; });
}

}  // namespace

struct ModelRunner::State {
  ParallelContext& context;
  TrainOptions options;
  ModelConfig config;
  LlamaStage stage;
  std::unique_ptr<Communicator> tied;           // the pipeline's ends, when they share a tied embedding
  std::unique_ptr<ShardedOptimizer> optimizer;  // none of a frozen model
  StepReporter reporter;
  Schedule schedule;
  std::unique_ptr<Executor> executor;  // of a frozen model: made when a backward pass is first asked for
  SlabSource origin;                   // of a frozen model's weights
  // Forward-only passes by their number of micro-batches, made when first used. An executor refers to its
  // table, so both stay where they are.
  struct ForwardPass {
    Schedule schedule;
    std::unique_ptr<Executor> executor;
  };
  std::map<int, ForwardPass> forward_only;
  bool rehearsed = false;
  std::unique_ptr<Teacher> teacher;
  double teacher_share = 0;

  State(ParallelContext& c, const TrainOptions& o, const ModelConfig& m, ModelUse use)
      : context(c),
        options(o),
        config(m),
        stage(stage_options(c, o, m, use)),
        reporter(c, m, stage.parameters()),
        schedule(make_schedule(o.schedule, o.pp, micros(), o.bpipe, o.pieces, o.split_backward)) {
    if (use == ModelUse::Frozen) return;
    if (m.tied_embeddings && o.pp > 1) {
      const int at = c.place.pp;
      tied = c.model_pp().split(at == o.pp - 1 ? 0 : at, at, "tied embedding");  // those between stay alone
    }
    optimizer = std::make_unique<ShardedOptimizer>(
        stage.parameters().all(), OptimizerComms{&c.model_tp(), &c.model_dp(), tied.get()},
        AdamWOptions{o.beta1, o.beta2, o.eps, o.weight_decay}, parse_dtype(o.dtype));
    stage.set_reduce_hook([this](int global_stage) { optimizer->reduce(global_stage); });
    make_executor();
  }

  void make_executor() {
    executor =
        std::make_unique<Executor>(schedule, context.model_pp(), stage, context.progress, *context.device);
  }
  ShardedOptimizer& trained() {
    LACUNA_CHECK(optimizer, ErrorKind::Internal, "a frozen model has no optimizer");
    return *optimizer;
  }

  int micros() const { return static_cast<int>(options.global_batch / (options.micro_batch * options.dp)); }

  // Fills in the loss scale from the scored tokens of all replicas; returns their number.
  std::int64_t complete(StepBatch& batch) {
    const std::int64_t valid = sum_over(*context.dp, scored(batch.targets));
    LACUNA_CHECK(valid > 0, ErrorKind::BadInput, "a batch without a token to score");
    batch.loss_scale = 1.0 / static_cast<double>(valid);
    batch.global_tokens = static_cast<std::int64_t>(batch.tokens.size()) * options.dp;
    return valid;
  }

  // The executor of a forward-only pass over such a batch, ready to run.
  Executor& forward_executor(const StepBatch& batch) {
    const int count = batch.micros;
    ForwardPass& pass = forward_only[count];
    if (pass.executor) return *pass.executor;
    pass.schedule = make_forward_schedule(options.pp, count, options.pieces);
    pass.executor = std::make_unique<Executor>(pass.schedule, context.model_pp(), stage, context.progress,
                                               *context.device, stash_lender());
    StepBatch trial = batch;
    trial.gradients = false;
    rehearse(*pass.executor, std::move(trial));
    return *pass.executor;
  }

  // A pass keeps one stash at a time, and no step is under way meanwhile: it lies where a step's lie.
  const Executor* stash_lender() const {
    if (executor) return executor.get();
    for (const auto& [count, pass] : forward_only)
      if (pass.executor) return pass.executor.get();
    return nullptr;
  }

  // The executor of a whole step over such a batch, ready to run.
  Executor& step_executor(const StepBatch& batch) {
    if (!executor) make_executor();
    if (!std::exchange(rehearsed, true)) rehearse(*executor, batch);
    return *executor;
  }

  // On GPUs in a pipeline: kernels are loaded and memory is taken while no peer waits (Executor::rehearse).
  // Gradients are dropped before, as in every step, so that the first products overwrite and later ones add;
  // and after, as they are void. A penalty that begins in a later step has its kernels too.
  void rehearse(Executor& which, StepBatch batch) {
    if (!context.model_device.is_cuda() || options.pp == 1) return;
    const bool gradients = batch.gradients && optimizer;
    if (options.l1 > 0 && batch.l1 == 0) batch.l1 = options.l1;
    if (gradients) stage.parameters().zero_grads();
    stage.begin_step(std::move(batch));
    which.rehearse();
    if (gradients) stage.parameters().zero_grads();
  }

  void run_forward_only(StepBatch batch) {
    Executor& pass = forward_executor(batch);
    batch.gradients = false;
    stage.begin_step(std::move(batch));
    pass.run();
    collect();
  }

  // The one place in a step where the host waits for a GPU: losses, counts and norms decide what comes next.
  void collect() {
    stage.fetch();
    const Doing doing(&context.progress, "the device's work", "");
    context.device->finish(kComputeQueue);  // and sees it when a peer is lost
  }
};

ModelRunner::ModelRunner(ParallelContext& context, const TrainOptions& options, const ModelConfig& config,
                         ModelUse use)
    : state_(std::make_unique<State>(context, options, config, use)) {}

ModelRunner::~ModelRunner() = default;

void ModelRunner::initialise(std::uint64_t seed) {
  State& s = *state_;
  s.stage.parameters().initialise(seed);
  if (s.optimizer)
    s.optimizer->adopt_weights();
  else
    s.origin = own_weights(s.stage.parameters());
}

void ModelRunner::load(const SlabSource& read, bool with_state, const TensorSource& ready) {
  State& s = *state_;
  if (s.optimizer) return load_slabs(*s.optimizer, read, with_state);
  load_frozen(s.stage.parameters(), read, ready);
  s.origin = read;
}

void ModelRunner::distil_from(const ModelConfig& teacher, const SlabSource& weights, double share) {
  State& s = *state_;
  LACUNA_CHECK(teacher.vocab == s.config.vocab, ErrorKind::Usage,
               "the teacher has a vocabulary of {}, the model of {}: distillation compares probabilities of "
               "the same tokens",
               teacher.vocab, s.config.vocab);
  for (const std::string& problem : tp_problems(teacher, s.options.tp))
    fail(ErrorKind::Usage, "the teacher: {}", problem);
  TrainOptions options = s.options;
  if (teacher.layers != s.config.layers) options.cuts.clear();
  s.teacher = std::make_unique<Teacher>(
      s.context, stage_options(s.context, options, teacher, ModelUse::Frozen), weights);
  s.teacher_share = share;
}

StepNumbers ModelRunner::accumulate(StepBatch batch, const SignalFlags& signals) {
  State& s = *state_;
  ShardedOptimizer& optimizer = s.trained();
  const std::int64_t valid = s.complete(batch);
  if (s.teacher) batch.soft = s.teacher->targets(batch, s.teacher_share);
  Executor& step = s.step_executor(batch);
  s.stage.begin_step(std::move(batch));
  step.run();
  if (s.config.tied_embeddings) optimizer.add_tied();
  optimizer.fetch_norms();
  s.collect();
  StepNumbers numbers;
  numbers.report = s.reporter.gather(s.stage, s.micros(), optimizer.squared_norms(), signals);
  numbers.loss = numbers.report.loss_sum / static_cast<double>(valid);
  numbers.divergence = numbers.report.divergence_sum / static_cast<double>(valid);
  numbers.grad_norm = numbers.report.grad_norm;
  return numbers;
}

void ModelRunner::update(double lr, double clip, double grad_norm, std::int64_t update) {
  const double scale = clip > 0 ? std::min(1.0, clip / (grad_norm + 1e-6)) : 1.0;
  state_->trained().step(lr, scale, update);
  drop_gradients();
}

void ModelRunner::drop_gradients() {
  state_->stage.parameters().zero_grads();
}

std::string ModelRunner::first_bad_gradient() {
  State& s = *state_;
  std::array<char, 256> mine{};
  for (const LocalParameter& p : s.stage.parameters().all()) {
    if (at::isfinite(p.grad).all().item<bool>()) continue;
    fmt::format_to_n(mine.data(), mine.size() - 1, "first bad gradient on rank {}, stage {}: {}",
                     s.context.world.rank(), p.stage, p.spec.name);
    break;
  }
  std::vector<char> all(mine.size() * static_cast<std::size_t>(s.context.world.size()));
  s.context.world.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
  for (std::size_t at = 0; at < all.size(); at += mine.size())
    if (all[at]) return &all[at];
  return "all gradients are finite on their ranks";
}

StepNumbers ModelRunner::evaluate(StepBatch batch) {
  State& s = *state_;
  const std::int64_t valid = s.complete(batch);
  const int micros = batch.micros;
  s.run_forward_only(std::move(batch));
  StepNumbers numbers;
  numbers.report = s.reporter.gather(s.stage, micros, {}, {});
  numbers.loss = numbers.report.loss_sum / static_cast<double>(valid);
  return numbers;
}

void ModelRunner::calibrate(StepBatch batch, const LlamaStage::FfnObserver& observer) {
  state_->complete(batch);
  state_->forward_executor(batch);  // before anybody looks
  state_->stage.observe_ffn(observer);
  state_->run_forward_only(std::move(batch));
  state_->stage.observe_ffn(nullptr);
}

void ModelRunner::calibrate_inputs(StepBatch batch, const LlamaStage::TokenObserver& observer) {
  state_->complete(batch);
  state_->forward_executor(batch);  // before anybody looks
  state_->stage.observe_ffn_inputs(observer);
  state_->run_forward_only(std::move(batch));
  state_->stage.observe_ffn_inputs(nullptr);
}

void ModelRunner::calibrate_output_grads(StepBatch batch, const LlamaStage::TokenObserver& observer) {
  State& s = *state_;
  s.complete(batch);
  Executor& step = s.step_executor(batch);  // before anybody looks
  s.stage.observe_ffn_output_grads(observer);
  s.stage.begin_step(std::move(batch));
  step.run();
  s.collect();
  s.stage.observe_ffn_output_grads(nullptr);
  if (s.optimizer) drop_gradients();
}

Probe ModelRunner::probe(const ProbeSequences& sequences) {
  State& s = *state_;
  const ProbeShape shape = probe_shape(sequences, static_cast<std::size_t>(s.options.micro_batch),
                                       static_cast<std::size_t>(s.options.seq_len));
  StepBatch batch = probe_batch(sequences, shape);
  s.complete(batch);
  s.stage.keep_logits(last_tokens(shape));
  RouteRecorder routes(s.config, shape);
  if (s.config.is_routed()) {
    s.forward_executor(batch);  // before anybody looks
    s.stage.observe_experts([&](int layer, const at::Tensor& gates) { routes.see(layer, gates); });
  }
  s.run_forward_only(std::move(batch));
  s.stage.observe_experts(nullptr);
  const std::vector<std::vector<double>> kept = s.stage.kept_logits();
  s.stage.keep_logits({});
  std::vector<std::vector<std::uint8_t>> on;
  if (s.config.is_routed()) on = routes.merge(*s.context.control);
  if (s.context.place.pp != s.options.pp - 1) return {};

  Probe probe;
  probe.compute = s.options.dtype;
  probe.logits = gather_logits(*s.context.tp, kept, shape, s.config.vocab);
  probe.sequences = sequences;
  probe.routes = std::move(on);
  const bool holds = s.context.place.tp == 0 && s.context.place.dp == 0;
  return holds ? probe : Probe{};
}

const ModelConfig& ModelRunner::config() const {
  return state_->config;
}
ParameterStore& ModelRunner::weights() {
  return state_->stage.parameters();
}
ShardedOptimizer& ModelRunner::optimizer() {
  return state_->trained();
}
SlabsToSave ModelRunner::slabs_to_save() {
  State& s = *state_;
  if (s.optimizer) return lacuna::slabs_to_save(*s.optimizer);
  LACUNA_ASSERT(s.origin);
  return slabs_of_frozen(s.stage.parameters(), *s.context.dp, s.origin);
}
const Schedule& ModelRunner::schedule() const {
  return state_->schedule;
}
const ExecutorStats& ModelRunner::stats() const {
  LACUNA_ASSERT(state_->executor);
  return state_->executor->stats();
}
int ModelRunner::micros_per_step() const {
  return state_->micros();
}

std::vector<RankBytes> ModelRunner::memory() const {
  State& s = *state_;
  const int me = s.context.place.pp;
  // One row a rank: weights, gradients, optimizer, boundary, workspace, teacher, pieces.
  constexpr std::size_t kFixed = 6;
  std::vector<std::size_t> mine(kFixed, 0);
  for (const LocalParameter& p : s.stage.parameters().all()) {
    const bool aliased = p.tied_copy && s.options.pp == 1;
    mine[0] += aliased ? 0 : p.weight.nbytes();
    mine[1] += p.grad.defined() ? p.grad.nbytes() : 0;
  }
  mine[2] = s.optimizer ? s.optimizer->state_bytes() : 0;
  mine[3] = s.stage.boundary_bytes();
  mine[4] = scratch_bytes(s.config, s.stage.options().shape, s.stage.options().stash, me == s.options.pp - 1,
                          s.context.model_device.is_cuda());
  if (s.teacher) mine[5] = s.teacher->bytes(s.micros());
  for (int piece = 0; piece < s.schedule.pieces; ++piece) mine.push_back(s.stage.piece_bytes(me, piece));
  std::vector<std::size_t> all(mine.size() * static_cast<std::size_t>(s.options.pp));
  s.context.control->all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));
  std::vector<RankSizes> sizes;
  for (std::size_t at = 0; at < all.size(); at += mine.size())
    sizes.push_back({all[at],
                     all[at + 1],
                     all[at + 2],
                     {all.begin() + static_cast<std::ptrdiff_t>(at + kFixed),
                      all.begin() + static_cast<std::ptrdiff_t>(at + mine.size())},
                     all[at + 3],
                     all[at + 4],
                     all[at + 5]});
  return memory_by_class(s.schedule, sizes);
}

void ModelRunner::close() {
  if (state_->teacher) state_->teacher->close();
  if (state_->executor) state_->executor->close();
  for (auto& [count, pass] : state_->forward_only) pass.executor->close();
}

}  // namespace lacuna
