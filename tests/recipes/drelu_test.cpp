// dReLU: the canonical start is exact for the parent, chooses the half that carries more, and does so under
// any layout; the child has zeros and learns.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/run/local_communicator.h"
#include "recipes/drelu/sign_statistics.h"
#include "recipes/recipe.h"
#include "src/base/error.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

ModelConfig parent_model() {
  ModelConfig config = small_model();
  config.layers = 3;
  return config;
}

// Values of the parent's parameters, as a slab source: initial values of one process.
SlabSource parent_source(const std::map<std::string, std::vector<double>>& tensors,
                         const ModelConfig& config) {
  return [&tensors, config](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    for (const Parameter& p : parameters(config)) {
      if (p.name != name) continue;
      const bool matrix = p.shape.size() > 1;
      const std::int64_t cols = matrix ? p.shape[1] : 1, run = matrix ? slab.extent[1] : 1;
      std::size_t to = 0;
      for (std::int64_t r = 0; r < slab.extent[0]; ++r)
        for (std::int64_t c = 0; c < run; ++c) {
          const std::int64_t at = (slab.offset[0] + r) * cols + (matrix ? slab.offset[1] : 0) + c;
          const double value = tensors.at(name)[static_cast<std::size_t>(at)];
          if (dtype == DType::F64)
            static_cast<double*>(dst)[to++] = value;
          else
            static_cast<float*>(dst)[to++] = static_cast<float>(value);
        }
    }
  };
}

// Parent's loss, loss of the parent's function with the rewritten weights, child's weights, child's zeros.
struct Outcome {
  double parent_loss = 0, rewritten_loss = 0;
  std::map<std::string, std::vector<double>> weights;
  std::vector<double> zeros, losses;
};

std::map<std::string, std::vector<double>> initial_tensors() {
  const RunNumbers run = run_layout(small_options(1, 1, 1), 3, parent_model());
  return run.weights;
}

Outcome convert(const TrainOptions& options, const std::map<std::string, std::vector<double>>& tensors,
                int steps = 0) {
  Outcome out;
  std::mutex mutex;
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress);
    const std::unique_ptr<Recipe> recipe = find_recipe("drelu").make();
    const ModelConfig parent = parent_model();
    const MadeUpBatches batches(options, parent.vocab, context.place.dp);
    const SlabSource source = parent_source(tensors, parent);
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
      for (const OwnedPart& part : child.optimizer().owned_parts()) {
        if (!part.writes || part.parameter->spec.role != Role::Up) continue;
        std::vector<double>& whole = out.weights[part.parameter->spec.name];
        whole.resize(static_cast<std::size_t>(part.parameter->spec.elements()));
        const auto* rows = part.master.const_data_ptr<double>();
        std::copy(rows, rows + part.slab.elements(),
                  whole.begin() + part.slab.offset[0] * part.parameter->spec.shape[1]);
      }
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

TEST(Drelu, CanonicalStartKeepsTheParentsFunctionAndIsEqualUnderEveryLayout) {
  const auto tensors = initial_tensors();
  const Outcome one = convert(small_options(1, 1, 1), tensors);
  EXPECT_NEAR(one.rewritten_loss, one.parent_loss, 1e-13 * one.parent_loss);  // a sign commutes with rounding
  int flipped = 0;
  for (const auto& [name, rows] : one.weights) {
    const std::vector<double>& before = tensors.at(name);
    for (std::size_t i = 0; i < rows.size(); i += 32) {
      ASSERT_EQ(std::abs(rows[i]), std::abs(before[i]));
      flipped += rows[i] != before[i];
    }
  }
  EXPECT_GT(flipped, 20);  // of 3 · 48 neurons about half
  EXPECT_LT(flipped, 124);
  for (const auto& [pp, tp, dp] :
       {std::tuple{3, 1, 1}, std::tuple{1, 2, 1}, std::tuple{1, 1, 2}, std::tuple{2, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    EXPECT_TRUE(same_bits(convert(small_options(pp, tp, dp), tensors).weights, one.weights));
  }
}

TEST(Drelu, ChildHasExactZerosAndLearns) {
  const Outcome outcome = convert(small_options(1, 1, 1), initial_tensors(), 8);
  ASSERT_EQ(outcome.zeros.size(), 3u);
  for (double share : outcome.zeros) {
    EXPECT_GT(share, 0.5);
    EXPECT_LT(share, 1.0);
  }
  EXPECT_LT(outcome.losses.back(), outcome.losses.front());
}

TEST(Drelu, SignStatisticsCountTheHalfWithMoreEnergyWhereTheGateIsOpen) {
  const auto row = [](std::vector<double> values) {
    return at::tensor(values, at::kDouble).reshape({-1, 3});
  };
  SignStatistics statistics;
  // Neuron 0: larger negative half; 1: its negative half has a closed gate; 2: positive half.
  const at::Tensor gate = row({1, 1, 1, 1, -1, 1}), up = row({1, 1, 2, -2, -5, -1});
  statistics.add(4, gate, up, gate * up);
  const auto world = single_rank();
  statistics.merge(*world);
  EXPECT_EQ(statistics.layers(), std::vector<int>{4});
  EXPECT_EQ(statistics.flips(4), (std::vector<bool>{true, false, false}));
  EXPECT_THROW(statistics.flips(5), Error);
}

TEST(Drelu, RefusesSettingsThatAreNone) {
  const std::unique_ptr<Recipe> recipe = find_recipe("drelu").make();
  for (FieldRef& field : recipe->fields())
    if (field.name == "drelu.start") field.set("sideways");
  ASSERT_EQ(recipe->problems().size(), 1u);
  EXPECT_NE(recipe->problems()[0].find("sideways"), std::string::npos);
  EXPECT_THROW(find_recipe("nothing"), Error);
}

}  // namespace
}  // namespace lacuna::test
