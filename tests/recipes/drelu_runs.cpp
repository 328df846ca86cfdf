#include "tests/recipes/drelu_runs.h"

#include <mutex>

#include "parallel/run/local_communicator.h"
#include "recipes/recipe.h"
#include "src/model/cuda/ops.h"

namespace lacuna::test {

Converted convert_to_drelu(const TrainOptions& options, int steps) {
  Converted out;
  std::mutex mutex;
  const SlabSource source = parent_source();
  parent_tensors();
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress, options.device);
    if (context.model_device.is_cuda()) on_cuda::set_deterministic(options.deterministic);
    const std::unique_ptr<Recipe> recipe = find_recipe("drelu").make();
    const ModelConfig parent = parent_model();
    const MadeUpBatches batches(options, parent.vocab, context.place.dp);
    ModelRunner teacher(context, options, parent);
    teacher.load(source, false);
    const double before = teacher.evaluate(batches.validation(8)).loss;
    for (FieldRef& field : recipe->fields())
      if (field.name == "drelu.calibration") field.set("16");
    CalibrationRun calibration(context, options, batches, parent, source);
    recipe->calibrate(calibration);
    teacher.load(recipe->rewrite_weights(source), false);
    const double after = teacher.evaluate(batches.validation(8)).loss;
    teacher.close();

    ModelRunner child(context, options, recipe->rewrite(parent));
    child.load(recipe->rewrite_weights(source), false);
    {
      const std::lock_guard lock(mutex);
      add_weights(out.weights, child);
    }
    for (int step = 0; step < steps; ++step) {
      const StepNumbers numbers = child.accumulate(batches.train(0), {});
      child.update(3e-3, 1, numbers.grad_norm, step + 1);
      if (rank == 0) out.losses.push_back(numbers.loss);
      if (rank == 0) out.zeros = numbers.report.zeros_per_layer;
    }
    child.close();
    if (rank == 0) {
      out.parent_loss = before;
      out.rewritten_loss = after;
    }
  });
  return out;
}

}  // namespace lacuna::test
