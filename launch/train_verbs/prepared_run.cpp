#include "launch/train_verbs/prepared_run.h"

#include "launch/train_verbs/run_folder.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/checkpoint/step_folders.h"
#include "src/model/cuda/ops.h"
#include "src/train/throughput.h"

namespace lacuna {

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

bool first_time(const TrainingJob& job, ParallelContext& context, Prepared& ready) {
  std::vector<std::int64_t> steps;
  if (context.is_main() && job.options.resume != "never") steps = committed_steps(job.out);
  std::int64_t newest = steps.empty() ? -1 : steps.front();
  context.world.broadcast(0, std::as_writable_bytes(std::span(&newest, 1)));
  if (newest >= 0 && job.recipe && job.recipe->wants_calibration())
    ready.child = CheckpointReader(job.out + "/" + step_folder_name(newest)).meta().config;
  return newest < 0;
}

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

Json report_on_variants(const TrainingJob& job, ParallelContext& context, const Prepared& ready) {
  if (!job.recipe || job.recipe->report_texts().empty()) return {};
  const std::vector<Variant> variants = job.recipe->variants(ready.parent.config, ready.parent.weights);
  const Json report = job.recipe->report(score_variants(variants, job.recipe->report_texts(),
                                                        job.recipe->report_windows(), context, job.options));
  if (context.is_main()) write_file_atomic(job.out + "/report.json", report.dump(1) + "\n");
  return report;
}

void fill(const TrainingJob& job, const Prepared& ready, CalibrationRun* calibration, ModelRunner& runner) {
  const SlabSource& parent = ready.parent.weights;
  if (!parent) return runner.initialise(job.options.seed);
  if (!job.recipe) return runner.load(parent, false, ready.parent.ready);
  const SlabSource child = job.recipe->rewrite_weights(parent);
  if (!calibration) return runner.load(child, false);
  const TensorSource at_hand = job.recipe->rewrite_tensors(calibration->resident());
  calibration->clock.in("child", [&] { runner.load(child, false, at_hand); });
}

}  // namespace lacuna
