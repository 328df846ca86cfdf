#include "launch/train_verbs/training_job.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <chrono>
#include <optional>
#include <thread>

#include "launch/output.h"
#include "launch/train_verbs/agreement.h"
#include "launch/train_verbs/parent_model.h"
#include "launch/train_verbs/run_folder.h"
#include "parallel/run/mpi/mpi_session.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/checkpoint/run_lock.h"
#include "src/checkpoint/status_file.h"
#include "src/train/throughput.h"
#include "src/train/token_batches.h"
#include "src/train/trainer.h"
#include "src/train/watchdog.h"

namespace lacuna {

namespace {

// What local set-up yields on each rank.
struct Prepared {
  ParentModel parent;
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
  out.facts.folder = job.out;
  out.facts.config_ini = job.config_ini;
  out.facts.files = out.parent.files.empty() ? out.batches->tokenizer_files() : out.parent.files;
  out.facts.data_identity = out.batches->identity();
  out.facts.facts = {{"parent", out.parent.description}, {"verb", job.verb}};
  if (job.recipe)
    for (const auto& [key, value] : job.recipe->facts()) out.facts.facts[key] = value;
  return out;
}

void calibrate(const TrainingJob& job, ParallelContext& context, const Prepared& ready) {
  Recipe& recipe = *job.recipe;
  ModelRunner parent(context, job.options, ready.parent.config);
  parent.load(ready.parent.weights, false);
  const std::int64_t passes =
      (recipe.calibration_sequences() + job.options.global_batch - 1) / job.options.global_batch;
  if (context.is_main())
    log_info("calibrating on {} sequences of the training data", passes * job.options.global_batch);
  for (std::int64_t pass = 0; pass < passes; ++pass)
    parent.calibrate(ready.batches->train(pass),
                     [&](int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product) {
                       recipe.observe(layer, gate, up, product);
                     });
  recipe.finish_calibration(context, ready.parent.config);
  parent.close();
}

void report_memory(ParallelContext& context, const ModelRunner& runner) {
  const std::vector<RankBytes> stages = runner.memory();
  if (!context.is_main()) return;
  const auto text = [](std::size_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    const RankBytes& m = stages[stage];
    log_info(
        "stage {}: {} a rank = weights {} + gradients {} + optimizer {} + stashes {} + guests {} + "
        "boundaries {}",
        stage, text(m.total()), text(m.weights), text(m.gradients), text(m.optimizer), text(m.own_stashes),
        text(m.guest_area), text(m.boundaries));
  }
}

Json result_json(const TrainResult& result) {
  Json json;
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
  ParallelContext context(world, topology, progress);
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
    log_info("{}: {}, {} parameters, {} x {} tokens a step on {} rank{} (pp {}, tp {}, dp {}), {}", job.verb,
             ready.parent.description, short_count(static_cast<double>(parameter_count(ready.child))),
             job.options.global_batch, job.options.seq_len, world.size(), world.size() == 1 ? "" : "s",
             topology.pp, topology.tp, topology.dp, job.options.dtype);
  ModelRunner runner(context, job.options, ready.child);
  report_memory(context, runner);
  TrainHooks none;
  TrainHooks& hooks = job.recipe ? static_cast<TrainHooks&>(*job.recipe) : none;
  Trainer trainer(context, job.options, runner, *ready.batches, hooks, ready.facts);
  if (!trainer.resume()) {
    if (job.recipe && job.recipe->calibration_sequences() > 0) calibrate(job, context, ready);
    if (!ready.parent.weights)
      runner.initialise(job.options.seed);
    else
      runner.load(job.recipe ? job.recipe->rewrite_weights(ready.parent.weights) : ready.parent.weights,
                  false);
  }
  const TrainResult result = trainer.run();
  runner.close();
  const int code = result.stopped ? static_cast<int>(ErrorKind::Stopped) : 0;
  if (context.is_main()) {
    write_status(job.out, {code, result.steps, result.checkpoint,
                           result.stopped ? "stopped on request, saved" : "done"});
    if (job.json)
      print_json(result_json(result), "lacuna.train.v1");
    else
      log_info("{} steps done; {}\nnext: lacuna export -m {} -o MODEL", result.steps, result.checkpoint,
               job.out);
  }
  return code;
}

}  // namespace

int run_training_job(TrainingJob& job) {
  MpiSession session;
  Communicator& world = session.world();
  set_log_rank(world.size() > 1 ? world.rank() : -1, world.size());
  set_log_quiet(job.quiet);
  install_stop_signals();
  Progress progress;
  progress.phase = "init";
  world.report_to(&progress);
  WatchdogOptions watch;
  watch.rank = world.rank();
  Watchdog watchdog(progress, watch);
  int code = 0;
  try {
    code = run_on_rank(job, world, progress);
  } catch (const AgreedFailure& failure) {
    code = failure.code;
  } catch (const std::exception& any) {
    const auto* error = dynamic_cast<const Error*>(&any);
    code = error ? error->exit_code() : static_cast<int>(ErrorKind::Internal);
    // Most of these are found by every rank alike: rank 0 says it once, for all, and ends the others.
    const ErrorKind kind = error ? error->kind() : ErrorKind::Internal;
    const bool same_everywhere = kind == ErrorKind::Storage || kind == ErrorKind::Numeric ||
                                 kind == ErrorKind::BadInput || kind == ErrorKind::Usage;
    if (same_everywhere && world.rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(3));
    log_line("error", any.what());
    if (world.rank() == 0) record_failure(job, code, progress.step, any.what());
    if (world.size() > 1) session.abort(code);
  }
  session.finalize();
  return code;
}

}  // namespace lacuna
