#include "src/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "optim/lr_schedule.h"
#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/log.h"
#include "src/model/cuda/ops.h"
#include "src/train/allocation_check.h"
#include "src/train/event_log.h"
#include "src/train/profile.h"
#include "src/train/throughput.h"

namespace lacuna {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int kSaveFailures = 3;  // in a row, then the run ends with exit 74
constexpr int kProbeSequences = 3;
constexpr std::int64_t kProbeLength = 32;

}  // namespace

struct Trainer::State {
  ParallelContext& context;
  TrainOptions options;
  ModelRunner& runner;
  const BatchSource& batches;
  TrainHooks& hooks;
  RunFacts facts;
  LrSchedule lr;
  NumericGuard guard;
  AllocationCheck allocations;    // GPUs
  std::unique_ptr<EventLog> log;  // rank 0
  std::int64_t done = 0, updates = 0, saved_step = -1, resumed_from = -1;
  int save_failures = 0;
  double matmul_rate = 0, longest_step = 0;
  Clock::time_point started = Clock::now(), last_save = Clock::now();
  std::vector<double> step_seconds;
  TrainResult result;

  State(ParallelContext& c, const TrainOptions& o, ModelRunner& r, const BatchSource& b, TrainHooks& h,
        RunFacts f)
      : context(c),
        options(o),
        runner(r),
        batches(b),
        hooks(h),
        facts(std::move(f)),
        lr{o.lr_schedule, o.lr, o.lr_final_fraction, o.warmup_steps, o.decay_steps, o.steps},
        guard(o.guard_in_a_row, o.guard_per_thousand) {}

  // Names the phase for the watchdog; `patience` multiplies the usual deadline. A step on a GPU is one piece
  // of work to the host, without a tick before it has ended: three times the longest so far is no hang yet.
  void enter(const char* phase, int patience = 1) {
    double seconds = options.hang_seconds * patience;
    if (context.model_device.is_cuda()) seconds = std::max(seconds, 3 * longest_step);
    context.progress.phase = phase;
    context.progress.step = done;
    context.progress.deadline_ms = static_cast<std::int64_t>(1000 * seconds);
    context.progress.tick();
  }

  std::int64_t tokens_per_step() const { return options.global_batch * options.seq_len; }
  SignalFlags wishes() const;
  std::optional<StepProfile> begin_profile() const;
  void end_profile(StepProfile& profile);
  bool one_step(SignalFlags& asked);
  void log_step(const StepNumbers& numbers, double rate, double seconds);
  void evaluate();
  void save();
  CheckpointMeta meta() const;
};

// Signals of this process, and rank 0's clock. Only rank 0 asks to save: a launcher passes SIGUSR1 on to
// every rank, and ranks that hear it in two different steps would save twice.
SignalFlags Trainer::State::wishes() const {
  SignalFlags flags = take_signals();
  if (!context.is_main()) {
    flags.save = false;
    return flags;
  }
  if (options.max_minutes > 0 && seconds_since(started) > 60 * options.max_minutes) flags.stop = true;
  if (options.save_every == 0 && seconds_since(last_save) > 60 * options.save_minutes) flags.save = true;
  return flags;
}

std::optional<StepProfile> Trainer::State::begin_profile() const {
  if (!context.is_main() || options.profile_step != done + 1) return std::nullopt;
  return std::optional<StepProfile>(std::in_place, context.model_device.is_cuda());
}

void Trainer::State::end_profile(StepProfile& profile) {
  if (context.model_device.is_cuda()) on_cuda::synchronise();
  log->end_progress();
  log_info("step {}, by kind of work (trace.json has the order):", done);
  for (const ProfileRow& row : profile.finish(facts.folder + "/trace.json"))
    log_info("{:9.2f} ms {:6} x {}", row.milliseconds, row.count, row.name);
}

// One optimizer step; returns false when the update was skipped. `asked`: what all ranks agreed on.
bool Trainer::State::one_step(SignalFlags& asked) {
  const auto start = Clock::now();
  enter("step", context.model_device.is_cuda() && step_seconds.empty() ? 4 : 1);
  std::optional<StepProfile> profile = begin_profile();
  if (context.model_device.is_cuda()) allocations.begin();
  StepControl control{done, options.steps, options.l1_at(done)};
  hooks.before_step(control);
  StepBatch batch = batches.train(done);
  batch.l1 = control.l1;
  batch.l1_knee = options.l1_knee;
  SignalFlags wanted = wishes();
  wanted.stop |= control.stop_after;
  const StepNumbers numbers = runner.accumulate(std::move(batch), wanted);
  asked = {numbers.report.save_asked, numbers.report.stop_asked};
  const bool finite = std::isfinite(numbers.loss) && std::isfinite(numbers.grad_norm);
  const std::string bad = finite ? "" : runner.first_bad_gradient();
  const bool accepted = guard.accept(done + 1, numbers.loss, numbers.grad_norm, bad);
  const double rate = lr.at(done);
  if (accepted) {
    runner.update(rate, options.clip, numbers.grad_norm, ++updates);
  } else {
    runner.drop_gradients();
    if (context.is_main()) log_warning("step {} skipped: loss {}, {}", done + 1, numbers.loss, bad);
  }
  ++done;
  if (context.model_device.is_cuda() && !accepted) allocations.drop();  // the search for the bad gradient
  if (context.model_device.is_cuda() && accepted)
    if (const std::string odd = allocations.end(done); !odd.empty()) log_warning("{}", odd);
  if (profile) end_profile(*profile);
  result.loss.push_back(numbers.loss);
  result.grad_norm.push_back(numbers.grad_norm);
  result.zeros_per_layer = numbers.report.zeros_per_layer;
  const double seconds = seconds_since(start);
  step_seconds.push_back(seconds);
  longest_step = std::max(longest_step, seconds);
  if (context.is_main()) log_step(numbers, rate, seconds);
  return accepted;
}

void Trainer::State::log_step(const StepNumbers& numbers, double rate, double seconds) {
  const auto& zeros = numbers.report.zeros_per_layer;
  double mean_zeros = 0, mean_l1 = 0;
  for (double z : zeros) mean_zeros += z / static_cast<double>(zeros.size());
  for (double v : numbers.report.l1_per_layer) mean_l1 += v / static_cast<double>(zeros.size());
  const double tokens_per_s = static_cast<double>(tokens_per_step()) / seconds;
  const double flops = tokens_per_s * flops_per_token(runner.config(), options.seq_len);
  const double mfu = flops / (matmul_rate * context.processors());
  std::vector<std::pair<std::string, double>> values = {
      {"loss", numbers.loss}, {"grad_norm", numbers.grad_norm},
      {"lr", rate},           {"tokens_per_s", tokens_per_s},
      {"mfu", mfu},           {"zeros", mean_zeros},
      {"l1", mean_l1},        {"tokens", static_cast<double>(done * tokens_per_step())}};
  if (options.distil > 0) values.emplace_back("divergence", numbers.divergence);
  log->write("train", done, values, mean_zeros > 0 ? zeros : std::vector<double>{});
  if (done % options.log_every != 0 && done != options.steps && done != 1) return;
  log->progress(
      done,
      fmt::format("loss {:.4f}{} norm {:.3f} lr {:.2e}{} · {} tok/s {}FLOP/s MFU {:.0f} % · {}", numbers.loss,
                  options.distil > 0 ? fmt::format(" KL {:.4f}", numbers.divergence) : "", numbers.grad_norm,
                  rate, mean_zeros > 0 ? fmt::format(" zeros {:.1f} %", 100 * mean_zeros) : "",
                  short_count(tokens_per_s), short_count(flops), 100 * mfu,
                  short_bytes(static_cast<double>(peak_resident_bytes()))));
}

void Trainer::State::evaluate() {
  enter("eval", 4);
  const std::int64_t group = options.micro_batch * options.dp;
  const std::int64_t sequences = std::max<std::int64_t>(options.eval_sequences / group, 1) * group;
  const StepNumbers numbers = runner.evaluate(batches.validation(sequences));
  result.valid_loss = numbers.loss;
  if (!context.is_main()) return;
  double zeros = 0;
  for (double z : numbers.report.zeros_per_layer) zeros += z / static_cast<double>(runner.config().layers);
  log->write("eval", done, {{"loss", numbers.loss}, {"ppl", std::exp(numbers.loss)}, {"zeros", zeros}});
  log->end_progress();
  log_info("step {}: kept-out loss {:.4f} (perplexity {:.3f}) over {} sequences", done, numbers.loss,
           std::exp(numbers.loss), sequences);
}

CheckpointMeta Trainer::State::meta() const {
  CheckpointMeta meta;
  meta.step = done;
  meta.tokens = done * tokens_per_step();
  meta.config = runner.config();
  meta.layout = {{"pp", options.pp}, {"tp", options.tp}, {"dp", options.dp}};
  meta.state = {
      {"updates", std::to_string(updates)}, {"guard", guard.to_state()}, {"data", facts.data_identity}};
  if (!facts.teacher_identity.empty()) meta.state["teacher"] = facts.teacher_identity;
  for (const auto& [key, value] : hooks.state()) meta.state["hook." + key] = value;
  for (const auto& [key, value] : facts.facts) meta.state["fact." + key] = value;
  for (std::size_t layer = 0; layer < result.zeros_per_layer.size(); ++layer)
    meta.state[fmt::format("zeros.{:04}", layer)] = to_text(result.zeros_per_layer[layer]);
  meta.files = facts.files;
  meta.config_ini = facts.config_ini;
  return meta;
}

// A failed save leaves the earlier checkpoints alone; the run goes on and tries again at the next interval.
void Trainer::State::save() {
  enter("checkpoint", 4);
  const auto start = Clock::now();
  CheckpointMeta description = meta();
  description.probe =
      runner.probe(batches.probe_sequences(kProbeSequences, std::min(kProbeLength, options.seq_len)));
  try {
    const SlabsToSave state = runner.slabs_to_save();
    result.checkpoint = save_checkpoint(
        facts.folder, context.world, description, state.slabs,
        {options.keep_last, options.keep_every, facts.generation, facts.run_id, resumed_from});
    save_failures = 0;
    saved_step = done;
    if (context.is_main()) {
      log->write("checkpoint", done, {{"seconds", seconds_since(start)}});
      log->end_progress();
      log_info("step {}: saved {} in {:.1f} s", done, result.checkpoint, seconds_since(start));
    }
  } catch (Error& error) {
    if (error.kind() != ErrorKind::Storage || ++save_failures >= kSaveFailures || done >= options.steps)
      throw;
    if (context.is_main()) log_warning("step {}: not saved ({}); training goes on", done, error.what());
  }
  last_save = Clock::now();
}

Trainer::Trainer(ParallelContext& context, const TrainOptions& options, ModelRunner& runner,
                 const BatchSource& batches, TrainHooks& hooks, const RunFacts& facts)
    : state_(std::make_unique<State>(context, options, runner, batches, hooks, facts)) {}

Trainer::~Trainer() = default;

bool Trainer::resume() {
  State& s = *state_;
  if (s.options.resume == "never") return false;
  s.enter("resume", 4);
  std::vector<std::string> rejected;
  const std::string chosen = s.options.resume == "auto"
                                 ? newest_checkpoint(s.facts.folder, s.context.world, &rejected)
                                 : fmt::format("{}/step-{:09}", s.facts.folder, std::stoll(s.options.resume));
  if (s.context.is_main())
    for (const std::string& line : rejected) log_warning("{}", line);
  // Beginning anew beside damaged checkpoints would let retention delete them, and days of work.
  LACUNA_CHECK(!chosen.empty() || rejected.empty(), ErrorKind::BadInput,
               "{}: none of its {} checkpoints can be used; repair one, or say --force to begin anew",
               s.facts.folder, rejected.size());
  if (chosen.empty()) return false;

  const auto reader = std::make_shared<const CheckpointReader>(chosen);
  const CheckpointMeta& meta = reader->meta();
  LACUNA_CHECK(meta.config == s.runner.config(), ErrorKind::BadInput,
               "{} holds another model than this run trains: give another --out, or --force", chosen);
  const auto entry = [&](const char* key) {
    const auto found = meta.state.find(key);
    LACUNA_CHECK(found != meta.state.end(), ErrorKind::BadInput,
                 "{}: no '{}' in its state; not a training checkpoint", chosen, key);
    return found->second;
  };
  LACUNA_CHECK(entry("data") == s.facts.data_identity, ErrorKind::BadInput,
               "{} was trained on other tokens than {} (fingerprint {} against {})", chosen, s.options.data,
               entry("data"), s.facts.data_identity);
  const std::string& teacher = s.facts.teacher_identity;
  if (!teacher.empty() && meta.state.contains("teacher"))
    LACUNA_CHECK(entry("teacher") == teacher, ErrorKind::BadInput,
                 "{} was distilled from another teacher (identity {} against {}): give that one as --parent, "
                 "or another --out",
                 chosen, entry("teacher"), teacher);
  from_text(entry("updates"), s.updates);
  const bool with_state =
      s.updates > 0;  // before the first update all moments are zero, and may not be there
  check_tensors(meta.config, reader->tensors(), chosen, with_state);
  s.runner.load([reader](const std::string& name, const Slab& slab, DType dtype,
                         void* dst) { reader->read(name, slab, dtype, dst); },
                with_state);
  s.guard.from_state(entry("guard"));
  std::map<std::string, std::string> hook_state;
  for (const auto& [key, value] : meta.state)
    if (key.rfind("hook.", 0) == 0) hook_state[key.substr(5)] = value;
  s.hooks.restore(hook_state);
  s.done = s.saved_step = s.resumed_from = meta.step;
  s.result.checkpoint = chosen;
  if (s.context.is_main()) log_info("resumed from {} (step {})", chosen, meta.step);
  return true;
}

TrainResult Trainer::run() {
  State& s = *state_;
  s.result.first_step = s.done;
  if (s.context.is_main()) {
    if (s.done < s.options.steps)
      s.matmul_rate = measured_matmul_rate(s.options.dtype, s.context.model_device);
    s.log = std::make_unique<EventLog>(s.facts.folder, s.done, s.options.steps);
  }
  const auto due = [&](std::int64_t every) { return every > 0 && s.done % every == 0; };
  while (s.done < s.options.steps && !s.result.stopped) {
    SignalFlags asked;
    s.one_step(asked);
    if (due(s.options.eval_every)) s.evaluate();
    if (due(s.options.save_every) || asked.save || asked.stop) s.save();
    s.result.stopped = asked.stop && s.done < s.options.steps;
  }
  if (s.saved_step != s.done && (s.options.save_final || s.result.stopped)) s.save();
  if (s.log) s.log->end_progress();
  if (s.context.is_main() && !s.result.checkpoint.empty())
    s.result.content_hash = CheckpointReader(s.result.checkpoint).content_hash().hex();
  s.result.steps = s.done;
  s.result.skipped = s.guard.skipped();
  if (!s.step_seconds.empty()) {
    std::sort(s.step_seconds.begin(), s.step_seconds.end());
    s.result.tokens_per_s =
        static_cast<double>(s.tokens_per_step()) / s.step_seconds[s.step_seconds.size() / 2];
  }
  s.enter("end", 4);
  return s.result;
}

}  // namespace lacuna
