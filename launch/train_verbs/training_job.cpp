#include "launch/train_verbs/training_job.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>

#include "launch/train_verbs/agreement.h"
#include "launch/train_verbs/failure.h"
#include "launch/train_verbs/job_report.h"
#include "launch/train_verbs/planned_training.h"
#include "launch/train_verbs/prepared_run.h"
#include "launch/train_verbs/run_folder.h"
#include "parallel/run/local_communicator.h"
#include "parallel/run/mpi/mpi_session.h"
#include "src/base/log.h"
#include "src/model/cuda/ops.h"
#include "src/train/memory_report.h"
#include "src/train/model_identity.h"
#include "src/train/watchdog.h"

namespace lacuna {

namespace {

// What the CPU can do and a GPU not yet.
void check_device(const TrainOptions& options, const ParallelContext& context) {
  if (!context.model_device.is_cuda()) return;
  on_cuda::set_deterministic(options.deterministic);
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
  job.holds_folder = true;
  if (ready.teacher)
    ready.facts.teacher_identity = model_identity(ready.teacher->config, ready.teacher->weights, world);
  at::set_num_threads(job.options.threads);
  if (context.is_main()) report_start(job, ready.parent.description, ready.child, context);
  const bool begins = first_time(job, context, ready);
  const bool calibrates = begins && job.recipe && job.recipe->wants_calibration();
  std::unique_ptr<CalibrationRun> calibration = calibrates ? calibrate(job, context, ready) : nullptr;
  const Json report = begins ? report_on_variants(job, context, ready) : Json{};
  const std::vector<RankBytes> predicted =
      predict_memory(job.options, ready.child, context.model_device.is_cuda(),
                     ready.teacher ? &ready.teacher->config : nullptr);
  if (context.is_main()) report_memory(predicted);
  if (use_of(job.options) == ModelUse::Trained) end_calibration(calibration);
  ModelRunner runner(context, job.options, ready.child, use_of(job.options));
  if (ready.teacher) {
    runner.distil_from(ready.teacher->config, ready.teacher->weights, job.options.distil);
    if (context.is_main())
      report_teacher(ready.teacher->description, ready.teacher->config, job.options.distil);
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
  context.close();
  const int code = result.stopped ? static_cast<int>(ErrorKind::Stopped) : 0;
  if (context.is_main()) report_end(job, result, report, gpus, code);
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
    record_failure(job, code, progress.step, failure.text);
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
