#include "launch/train_verbs/training_job.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>

#include "launch/output.h"
#include "launch/plan_memory.h"
#include "launch/train_verbs/agreement.h"
#include "launch/train_verbs/parent_model.h"
#include "launch/train_verbs/run_folder.h"
#include "parallel/plan/make_schedule.h"
#include "parallel/run/local_communicator.h"
#include "parallel/run/mpi/mpi_session.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/checkpoint/run_lock.h"
#include "src/checkpoint/status_file.h"
#include "src/checkpoint/step_folders.h"
#include "src/model/cuda/ops.h"
#include "src/train/memory_report.h"
#include "src/train/throughput.h"
#include "src/train/token_batches.h"
#include "src/train/trainer.h"
#include "src/train/watchdog.h"

namespace lacuna {

namespace {

// What local set-up yields on each rank.
struct Prepared {
  ParentModel parent;
  std::optional<ParentModel> teacher;  // with --distil
  ModelConfig child;
  std::optional<TokenBatches> batches;
  RunFacts facts;
};

// Everything that one rank can do and check alone.
Prepared prepare(TrainingJob& job, const ParallelContext& context) {
  Prepared out;
  const TrainOptions& o = job.options;
  check_run_folder(job);
  out.batches.emplace(o, context.place.dp);
  out.parent = job.model.empty() ? new_model(job.arch, out.batches->vocab(), out.batches->eos_id())
                                 : open_parent(job.model);
  out.child = job.recipe ? job.recipe->rewrite(out.parent.config) : out.parent.config;
  for (const std::string& line : tp_problems(out.child, o.tp)) fail(ErrorKind::Usage, "{}", line);
  cut_layers(static_cast<int>(out.child.layers), o.pp, std::vector<int>(o.cuts.begin(), o.cuts.end()));
  LACUNA_CHECK(out.batches->vocab() <= out.child.vocab, ErrorKind::BadInput,
               "{} was tokenized with a vocabulary of {}, the model has {}", o.data, out.batches->vocab(),
               out.child.vocab);
  LACUNA_CHECK(o.seq_len <= out.child.max_positions || out.child.rope_scaling.kind != "none",
               ErrorKind::Usage,
               "--seq-len {} is longer than the model's context of {} and it has no rope scaling", o.seq_len,
               out.child.max_positions);
  if (o.distil > 0) out.teacher = job.parent.empty() ? out.parent : open_parent(job.parent);
  if (out.teacher)
    LACUNA_CHECK(
        o.seq_len <= out.teacher->config.max_positions || out.teacher->config.rope_scaling.kind != "none",
        ErrorKind::Usage,
        "--seq-len {} is longer than the teacher's context of {} and it has no rope scaling", o.seq_len,
        out.teacher->config.max_positions);
  out.facts.folder = job.out;
  out.facts.config_ini = job.config_ini;
  out.facts.files = out.parent.files.empty() ? out.batches->tokenizer_files() : out.parent.files;
  out.facts.data_identity = out.batches->identity();
  out.facts.facts = {{"parent", out.parent.description}, {"verb", job.verb}};
  if (out.teacher) out.facts.facts["teacher"] = out.teacher->description;
  if (job.recipe)
    for (const auto& [key, value] : job.recipe->facts()) out.facts.facts[key] = value;
  return out;
}

// Calibration, and the model that comes out of it. The run is still open: its parent may serve the child.
std::unique_ptr<CalibrationRun> calibrate(const TrainingJob& job, ParallelContext& context, Prepared& ready) {
  if (context.is_main()) log_info("calibrating on sequences of the training data");
  auto run =
      std::make_unique<CalibrationRun>(context, job.options, *ready.batches, ready.parent.config,
                                       ready.parent.weights, ready.facts.data_identity, ready.parent.ready);
  job.recipe->calibrate(*run);
  ready.child = job.recipe->rewrite(ready.parent.config);
  for (const auto& [key, value] : job.recipe->facts()) ready.facts.facts[key] = value;
  return run;
}

// Says where the time went, and lets the parent go. Collective.
void end_calibration(std::unique_ptr<CalibrationRun>& run) {
  if (!run) return;
  run->close();
  const ParallelContext& context = run->context;
  if (context.is_main()) {
    log_info("calibration: {}", run->clock.text());
    if (context.model_device.is_cuda())
      log_info("calibration: at most {} of its GPU",
               short_bytes(static_cast<double>(
                   on_cuda::allocator_bytes(context.model_device.index()).peak_allocated)));
  }
  run.reset();
}

// The weights of a run that begins. A model that takes no step finds the calibration's parent at hand.
void fill(const TrainingJob& job, const Prepared& ready, CalibrationRun* calibration, ModelRunner& runner) {
  const SlabSource& parent = ready.parent.weights;
  if (!parent) return runner.initialise(job.options.seed);
  if (!job.recipe) return runner.load(parent, false, ready.parent.ready);
  const SlabSource child = job.recipe->rewrite_weights(parent);
  if (!calibration) return runner.load(child, false);
  const TensorSource at_hand = job.recipe->rewrite_tensors(calibration->resident());
  calibration->clock.in("child", [&] { runner.load(child, false, at_hand); });
}

// A model that takes no step has no gradients and no optimizer.
ModelUse use_of(const TrainOptions& options) {
  return options.steps == 0 ? ModelUse::Frozen : ModelUse::Trained;
}

// Whether this run has no step to go on from. Where it has one, its model is the child: what comes out of a
// calibration is not known again without it. (Whether the step can be trusted is for the trainer to say.)
bool first_time(const TrainingJob& job, ParallelContext& context, Prepared& ready) {
  std::vector<std::int64_t> steps;
  if (context.is_main() && job.options.resume != "never") steps = committed_steps(job.out);
  std::int64_t newest = steps.empty() ? -1 : steps.front();
  context.world.broadcast(0, std::as_writable_bytes(std::span(&newest, 1)));
  if (newest >= 0 && job.recipe && job.recipe->wants_calibration())
    ready.child = CheckpointReader(job.out + "/" + step_folder_name(newest)).meta().config;
  return newest < 0;
}

// The recipe's table of its child and the controls; empty when it has none.
Json report_on_variants(const TrainingJob& job, ParallelContext& context, const Prepared& ready) {
  if (!job.recipe || job.recipe->report_texts().empty()) return {};
  const std::vector<Variant> variants = job.recipe->variants(ready.parent.config, ready.parent.weights);
  const Json report = job.recipe->report(score_variants(variants, job.recipe->report_texts(),
                                                        job.recipe->report_windows(), context, job.options));
  if (context.is_main()) write_file_atomic(job.out + "/report.json", report.dump(1) + "\n");
  return report;
}

// Bytes of each class, from the tables alone: said before anything is allocated, so that a run that does not
// fit has named what does not.
std::vector<RankBytes> predict_memory(const ParallelContext& context, const TrainOptions& o,
                                      const ModelConfig& model) {
  PlannedRun run;
  run.model = model;
  run.shape = {o.micro_batch, o.seq_len, o.tp, parse_dtype(o.dtype)};
  run.dp = o.dp;
  run.stash = o.recompute ? StashKind::Recompute : StashKind::Full;
  run.cuda = context.model_device.is_cuda();
  run.cuts.assign(o.cuts.begin(), o.cuts.end());
  run.frozen = use_of(o) == ModelUse::Frozen;
  const auto micros = static_cast<int>(o.global_batch / (o.micro_batch * o.dp));
  if (run.frozen) return planned_memory(make_forward_schedule(o.pp, micros, o.pieces), run);
  return planned_memory(make_schedule(o.schedule, o.pp, micros, o.bpipe, o.pieces, o.split_backward), run);
}

void report_memory(const ParallelContext& context, const std::vector<RankBytes>& stages) {
  if (!context.is_main()) return;
  const auto text = [](std::size_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    const RankBytes& m = stages[stage];
    log_info(
        "stage {}: {} a rank = weights {} + gradients {} + optimizer {} + stashes {} + guests {} + "
        "boundaries {} + workspace {}",
        stage, text(m.total()), text(m.weights), text(m.gradients), text(m.optimizer), text(m.own_stashes),
        text(m.guest_area), text(m.boundaries), text(m.workspace));
  }
}

// What the CPU can do and a GPU not yet.
void check_device(const TrainOptions& options, const ParallelContext& context) {
  if (!context.model_device.is_cuda()) return;
  LACUNA_CHECK(options.distil == 0, ErrorKind::Usage, "--distil runs on the CPU only: say --device cpu");
  on_cuda::set_deterministic(options.deterministic);
}

// One line of what the allocator says, and what helps.
std::string out_of_memory_text(const std::string& from_torch) {
  return fmt::format(
      "the GPU's memory is exhausted: {}; smaller --micro-batch, --recompute, more --tp or --pp, or --bpipe "
      "need less "
      "(lacuna plan shows the bytes of each class)",
      from_torch.substr(0, from_torch.find(". GPU ") == std::string::npos ? from_torch.find('\n')
                                                                          : from_torch.find(". GPU ")));
}

struct Failure {
  ErrorKind kind = ErrorKind::Internal;
  std::string text;
};

// libtorch says "out of memory" in its own way, and with a page of advice.
Failure describe(const std::exception& any) {
  if (const auto* error = dynamic_cast<const Error*>(&any)) return {error->kind(), error->what()};
  if (dynamic_cast<const c10::OutOfMemoryError*>(&any))
    return {ErrorKind::NoFit, out_of_memory_text(any.what())};
  return {ErrorKind::Internal, any.what()};
}

void report_gpu_memory(const std::vector<GpuMemory>& gpus) {
  for (const GpuMemory& gpu : gpus)
    log_info("GPU of rank {}{}: {} predicted, {} measured ({:+.1f} %)", gpu.first_rank,
             gpu.ranks > 1 ? fmt::format(" and {} more", gpu.ranks - 1) : "",
             short_bytes(static_cast<double>(gpu.predicted)), short_bytes(static_cast<double>(gpu.measured)),
             100 * (static_cast<double>(gpu.measured) / static_cast<double>(gpu.predicted) - 1));
}

Json result_json(const TrainResult& result, const Json& report, const std::vector<GpuMemory>& gpus) {
  Json json;
  for (const GpuMemory& gpu : gpus)
    json["gpu_memory"].push_back({{"first_rank", gpu.first_rank},
                                  {"ranks", gpu.ranks},
                                  {"predicted", gpu.predicted},
                                  {"measured", gpu.measured}});
  if (!report.empty()) json["report"] = report;
  json["steps"] = result.steps;
  json["first_step"] = result.first_step;
  json["loss"] = result.loss;
  json["grad_norm"] = result.grad_norm;
  json["valid_loss"] = result.valid_loss;
  json["ffn_zeros_per_layer"] = result.zeros_per_layer;
  json["skipped"] = result.skipped;
  json["stopped"] = result.stopped;
  json["tokens_per_s"] = result.tokens_per_s;
  json["content_hash"] = result.content_hash;
  json["checkpoint"] = result.checkpoint;
  return json;
}

int run_on_rank(TrainingJob& job, Communicator& world, Progress& progress) {
  Topology topology{job.options.pp, job.options.tp, job.options.dp};
  agree(world, [&] {
    const auto problems = job.options.complete_and_check(world.size());
    LACUNA_CHECK(problems.empty(), ErrorKind::Usage, "{}", fmt::to_string(fmt::join(problems, "; ")));
    topology.dp = job.options.dp;
  });
  ParallelContext context(world, topology, progress, job.options.device);
  check_device(job.options, context);
  Prepared ready;
  std::optional<RunLock> lock;
  agree(world, [&] { ready = prepare(job, context); });
  agree(world, [&] {
    if (!context.is_main()) return;
    lock = take_run_folder(job);
    ready.facts.generation = lock->generation();
    ready.facts.run_id = lock->run_id();
  });
  at::set_num_threads(job.options.threads);
  if (context.is_main())
    log_info("{}: {}, {} parameters, {} x {} tokens a step on {} rank{} (pp {}, tp {}, dp {}), {} on {}",
             job.verb, ready.parent.description,
             short_count(static_cast<double>(parameter_count(ready.child))), job.options.global_batch,
             job.options.seq_len, world.size(), world.size() == 1 ? "" : "s", topology.pp, topology.tp,
             topology.dp, job.options.dtype, context.device_text());
  const bool begins = first_time(job, context, ready);
  const bool calibrates = begins && job.recipe && job.recipe->wants_calibration();
  std::unique_ptr<CalibrationRun> calibration = calibrates ? calibrate(job, context, ready) : nullptr;
  const Json report = begins ? report_on_variants(job, context, ready) : Json{};
  const std::vector<RankBytes> predicted = predict_memory(context, job.options, ready.child);
  report_memory(context, predicted);
  if (use_of(job.options) == ModelUse::Trained) end_calibration(calibration);
  ModelRunner runner(context, job.options, ready.child, use_of(job.options));
  if (ready.teacher) {
    runner.distil_from(ready.teacher->config, ready.teacher->weights, job.options.distil);
    if (context.is_main())
      log_info("teacher: {}, {} parameters, {:g} of the loss", ready.teacher->description,
               short_count(static_cast<double>(parameter_count(ready.teacher->config))), job.options.distil);
  }
  TrainHooks none;
  TrainHooks& hooks = job.recipe ? static_cast<TrainHooks&>(*job.recipe) : none;
  Trainer trainer(context, job.options, runner, *ready.batches, hooks, ready.facts);
  if (!trainer.resume()) fill(job, ready, calibration.get(), runner);
  end_calibration(calibration);
  const TrainResult result = trainer.run();
  std::vector<GpuMemory> gpus;
  if (!calibrates)  // else the peak is the calibration's
    gpus = gpu_memory(
        context, static_cast<std::int64_t>(predicted[static_cast<std::size_t>(context.place.pp)].total()));
  runner.close();
  const int code = result.stopped ? static_cast<int>(ErrorKind::Stopped) : 0;
  if (context.is_main()) {
    report_gpu_memory(gpus);
    write_status(job.out, {code, result.steps, result.checkpoint,
                           result.stopped ? "stopped on request, saved" : "done"});
    if (job.json)
      print_json(result_json(result, report, gpus), "lacuna.train.v1");
    else
      log_info("{} steps done; {}\nnext: lacuna export -m {} -o MODEL", result.steps, result.checkpoint,
               job.out);
  }
  return code;
}

// One rank from start to end under its watchdog; `abort` ends the other ranks after a failure of this one.
int run_and_report(TrainingJob& job, Communicator& world, const std::function<void(int)>& abort) {
  set_log_rank(world.size() > 1 && job.options.virtual_ranks == 1 ? world.rank() : -1, world.size());
  Progress progress;
  progress.phase = "init";
  world.report_to(&progress);
  WatchdogOptions watch;
  watch.rank = world.rank();
  Watchdog watchdog(progress, watch);
  try {
    return run_on_rank(job, world, progress);
  } catch (const AgreedFailure& failure) {
    return failure.code;
  } catch (const std::exception& any) {
    const Failure failure = describe(any);
    // Most of these are found by every rank alike: rank 0 says it once, for all, and ends the others.
    const bool same_everywhere = failure.kind == ErrorKind::Storage || failure.kind == ErrorKind::Numeric ||
                                 failure.kind == ErrorKind::BadInput || failure.kind == ErrorKind::Usage;
    if (same_everywhere && world.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(3));
    log_line("error", failure.text);
    const int code = static_cast<int>(failure.kind);
    if (world.rank() == 0) record_failure(job, code, progress.step, failure.text.c_str());
    if (world.size() > 1) abort(code);
    return code;
  }
}

// The job's recipe again, with the same settings; null where it has none.
std::unique_ptr<Recipe> recipe_like(const TrainingJob& job) {
  if (!job.recipe) return nullptr;
  std::unique_ptr<Recipe> recipe = job.make_recipe();
  const std::vector<FieldRef> from = job.recipe->fields(), to = recipe->fields();
  for (std::size_t i = 0; i < from.size(); ++i) to[i].set(from[i].get());
  return recipe;
}

// Ranks as threads of this process. The first failure ends the process: nobody can be stopped inside a
// kernel.
int run_virtual_ranks(TrainingJob& job, Communicator& process) {
  LACUNA_CHECK(process.size() == 1, ErrorKind::Usage,
               "--virtual-ranks makes ranks of one process, and mpirun started {}: say one or the other",
               process.size());
  int code = 0;
  run_local(
      job.options.virtual_ranks,
      [&](Communicator& world, int rank) {
        TrainingJob mine = job;
        const std::unique_ptr<Recipe> own_recipe = recipe_like(job);
        mine.recipe = own_recipe.get();
        const int own = run_and_report(mine, world, [](int failure) { std::_Exit(failure); });
        if (rank == 0) code = own;
      },
      std::chrono::hours(24));
  return code;
}

}  // namespace

int run_training_job(TrainingJob& job) {
  MpiSession session;
  set_log_quiet(job.quiet);
  install_stop_signals();
  int code = 0;
  if (job.options.virtual_ranks > 1)
    code = run_virtual_ranks(job, session.world());
  else
    code = run_and_report(job, session.world(), [&](int failure) { session.abort(failure); });
  session.finalize();
  return code;
}

}  // namespace lacuna
