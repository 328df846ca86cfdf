#include "tests/recipes/cmoe/carved_runs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "parallel/run/local_communicator.h"

namespace lacuna::test {

ModelConfig parent_model() {
  ModelConfig config = small_model();
  config.layers = 3;
  return config;
}

const GlobalTensors& parent_tensors() {
  static const GlobalTensors tensors = run_layout(small_options(1, 1, 1), 3, parent_model()).weights;
  return tensors;
}

namespace {

SlabSource parent_source() {
  return [](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const std::vector<double>& whole = parent_tensors().at(name);
    const bool matrix = slab.extent.size() > 1;
    std::int64_t cols = 1;
    for (const Parameter& p : parameters(parent_model()))
      if (p.name == name && matrix) cols = p.shape[1];
    std::size_t to = 0;
    for (std::int64_t r = 0; r < slab.extent[0]; ++r)
      for (std::int64_t c = 0; c < (matrix ? slab.extent[1] : 1); ++c) {
        const auto at =
            static_cast<std::size_t>((slab.offset[0] + r) * cols + (matrix ? slab.offset[1] : 0) + c);
        if (dtype == DType::F64)
          static_cast<double*>(dst)[to++] = whole[at];
        else
          static_cast<float*>(dst)[to++] = static_cast<float>(whole[at]);
      }
  };
}

}  // namespace

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

Outcome carve(const TrainOptions& options, const Settings& settings, int steps) {
  Outcome out;
  std::mutex mutex;
  parent_tensors();
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress);
    const std::unique_ptr<Recipe> recipe = recipe_with(settings);
    const ModelConfig parent = parent_model();
    const MadeUpBatches batches(options, parent.vocab, context.place.dp);
    CalibrationRun calibration(context, options, batches, parent, parent_source(), "made-up tokens");
    recipe->calibrate(calibration);
    const ModelConfig config = recipe->rewrite(parent);
    const auto loss_of = [&](const ModelConfig& model, const SlabSource& weights) {
      ModelRunner runner(context, options, model);
      runner.load(weights, false);
      const double loss = runner.evaluate(batches.validation(8)).loss;
      runner.close();
      return loss;
    };
    ModelConfig everything = config;
    everything.routed.active = {everything.routed.experts};
    everything.routed.threshold = false;  // which would switch on by score
    const double parent_loss = loss_of(parent, parent_source());
    const double all_on = loss_of(everything, recipe->rewrite_weights(parent_source()));
    ModelRunner child(context, options, config);
    child.load(recipe->rewrite_weights(parent_source()), false);
    {
      const std::lock_guard lock(mutex);
      for (const OwnedPart& part : child.optimizer().owned_parts()) {
        if (!part.writes || part.parameter->spec.layer < 0 || part.slab.elements() == 0) continue;
        const Parameter& spec = part.parameter->spec;
        std::vector<double>& whole = out.weights[spec.name];
        whole.resize(static_cast<std::size_t>(spec.elements()));
        const at::Tensor rows = part.master.cpu().contiguous();
        const double* from = rows.const_data_ptr<double>();
        const std::int64_t cols = spec.shape.size() > 1 ? spec.shape[1] : 1;
        const std::int64_t width = spec.shape.size() > 1 ? part.slab.extent[1] : 1;
        const std::int64_t left = spec.shape.size() > 1 ? part.slab.offset[1] : 0;
        for (std::int64_t r = 0; r < part.slab.extent[0]; ++r)
          std::copy_n(from + r * width, width, whole.begin() + (part.slab.offset[0] + r) * cols + left);
      }
    }
    const double loss = child.evaluate(batches.validation(8)).loss;
    for (int step = 0; step < steps; ++step) {
      const StepNumbers numbers = child.accumulate(batches.train(step % 2), {});
      child.update(1e-3, 1, numbers.grad_norm, step + 1);
      if (rank == 0) out.losses.push_back(numbers.loss);
    }
    child.close();
    if (rank == 0) {
      out.loss = loss;
      out.parent = parent_loss;
      out.all_on = all_on;
    }
  });
  return out;
}

bool is_reordered(const std::string& name) {
  return name.find("mlp.gate_proj") != std::string::npos || name.find("mlp.down_proj") != std::string::npos;
}

}  // namespace lacuna::test
