#include "tests/recipes/cmoe/carved_runs.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <mutex>

#include "parallel/run/local_communicator.h"
#include "src/model/cuda/ops.h"

namespace lacuna::test {

std::unique_ptr<Recipe> recipe_with(const Settings& settings) {
  std::unique_ptr<Recipe> recipe = find_recipe("cmoe").make();
  Settings left = settings;
  for (FieldRef& field : recipe->fields())
    if (const auto found = left.find(field.name); found != left.end()) {
      field.set(found->second);
      left.erase(found);
    }
  EXPECT_TRUE(left.empty());
  return recipe;
}

Settings small_carving(Settings more) {
  more.insert({{"cmoe.experts", "8"},
               {"cmoe.shared", "2"},
               {"cmoe.active", "2"},
               {"cmoe.top", "5"},
               {"cmoe.check-tokens", "64"},
               {"cmoe.calibration-tokens", "128"}});
  return more;
}

namespace {

// Training data that counts how often it is asked.
class CountedBatches : public BatchSource {
 public:
  explicit CountedBatches(const MadeUpBatches& batches) : batches_(batches) {}
  StepBatch train(std::int64_t step) const override {
    ++asked;
    return batches_.train(step);
  }
  StepBatch validation(std::int64_t sequences) const override { return batches_.validation(sequences); }
  std::vector<std::vector<std::int32_t>> probe_sequences(int count, std::int64_t length) const override {
    return batches_.probe_sequences(count, length);
  }
  mutable int asked = 0;

 private:
  const MadeUpBatches& batches_;
};

// One rank's part of carve(); rank 0 fills in the numbers.
class CarvingRank {
 public:
  CarvingRank(ParallelContext& context, const TrainOptions& options, Outcome& out, std::mutex& mutex)
      : context_(context),
        options_(options),
        batches_(options, parent_model().vocab, context.place.dp),
        out_(out),
        mutex_(mutex) {}

  void run(Recipe& recipe, int steps) {
    const ModelConfig parent = parent_model();
    const CountedBatches counted(batches_);
    CalibrationRun calibration(context_, options_, counted, parent, parent_source(), "made-up tokens");
    recipe.calibrate(calibration);
    calibration.close();
    const ModelConfig child = recipe.rewrite(parent);
    const SlabSource weights = recipe.rewrite_weights(parent_source());
    ModelConfig everything = child;
    everything.routed.active = {everything.routed.experts};
    everything.routed.threshold = false;  // which would switch on by score
    const double parent_loss = loss_of(parent, parent_source()), all_on = loss_of(everything, weights),
                 loss = loss_of(child, weights);
    if (context_.is_main()) {
      out_.routed = child.routed;
      out_.passes = counted.asked;
      out_.parent = parent_loss;
      out_.all_on = all_on;
      out_.loss = loss;
    }
    train(child, weights, steps);
  }

 private:
  double loss_of(const ModelConfig& model, const SlabSource& weights) {
    ModelRunner runner(context_, options_, model);
    runner.load(weights, false);
    const double loss = runner.evaluate(batches_.validation(8)).loss;
    runner.close();
    return loss;
  }

  void train(const ModelConfig& model, const SlabSource& weights, int steps) {
    ModelRunner runner(context_, options_, model);
    runner.load(weights, false);
    keep(runner, out_.weights);
    for (int step = 0; step < steps; ++step) {
      const StepNumbers numbers = runner.accumulate(batches_.train(step % 2), {});
      runner.update(1e-3, 1, numbers.grad_norm, step + 1);
      if (context_.is_main()) out_.losses.push_back(numbers.loss);
    }
    keep(runner, out_.trained);
    runner.close();
  }

  void keep(ModelRunner& runner, GlobalTensors& weights) {
    const std::lock_guard lock(mutex_);
    add_weights(weights, runner);
  }

  ParallelContext& context_;
  const TrainOptions& options_;
  const MadeUpBatches batches_;
  Outcome& out_;
  std::mutex& mutex_;
};

}  // namespace

Outcome carve(const TrainOptions& options, const Settings& settings, int steps) {
  Outcome out;
  std::mutex mutex;
  parent_tensors();
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int) {
    at::set_num_threads(1);
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress, options.device);
    if (context.model_device.is_cuda()) on_cuda::set_deterministic(options.deterministic);
    CarvingRank(context, options, out, mutex).run(*recipe_with(settings), steps);
  });
  return out;
}

bool is_reordered(const std::string& name) {
  return name.find("mlp.gate_proj") != std::string::npos || name.find("mlp.down_proj") != std::string::npos;
}

}  // namespace lacuna::test
