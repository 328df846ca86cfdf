// A model without gradients and optimizer: it scores and calibrates as the trained one does, bit for bit, and
// a run that takes no step saves weights alone, from which training goes on.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"
#include "src/checkpoint/checkpoint.h"
#include "src/train/phase_clock.h"
#include "tests/support/test_data.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

// What a model shows of one batch: loss, every FFN's input and output gradient by layer.
struct Shown {
  double loss = 0;
  std::map<int, at::Tensor> inputs, grads;
};

Shown look(ParallelContext& context, const TrainOptions& options, const ModelConfig& config, ModelUse use,
           const TensorSource& ready = nullptr) {
  ModelRunner runner(context, options, config, use);
  runner.load(made_up_weights(config), false, ready);
  const MadeUpBatches batches(options, config.vocab, context.place.dp);
  Shown out;
  out.loss = runner.evaluate(batches.validation(8)).loss;
  const auto add_to = [](std::map<int, at::Tensor>& sums) {
    return [&sums](int layer, const at::Tensor& rows) {
      at::Tensor& sum = sums[layer];
      sum = sum.defined() ? sum + rows : rows.clone();
    };
  };
  runner.calibrate_inputs(batches.train(0), add_to(out.inputs));
  runner.calibrate_output_grads(batches.train(0), add_to(out.grads));
  runner.close();
  return out;
}

void expect_equal(const std::map<int, at::Tensor>& a, const std::map<int, at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [layer, rows] : a) EXPECT_TRUE(at::equal(rows, b.at(layer))) << "layer " << layer;
}

TEST(Frozen, ShowsWhatTheTrainedModelShows) {
  for (const bool recompute : {false, true})
    for (const auto& [pp, tp, dp] : {std::tuple{1, 1, 1}, std::tuple{2, 2, 1}, std::tuple{3, 1, 2}}) {
      TrainOptions options = small_options(pp, tp, dp);
      options.recompute = recompute;
      run_local(pp * tp * dp, [&, shape = Topology{pp, tp, dp}](Communicator& world, int) {
        Progress progress;
        ParallelContext context(world, shape, progress);
        ModelConfig config = small_model();
        config.tied_embeddings = recompute;
        const Shown trained = look(context, options, config, ModelUse::Trained),
                    frozen = look(context, options, config, ModelUse::Frozen);
        EXPECT_EQ(frozen.loss, trained.loss);
        EXPECT_FALSE(frozen.grads.empty());
        expect_equal(frozen.inputs, trained.inputs);
        expect_equal(frozen.grads, trained.grads);
      });
    }
}

TEST(Frozen, HoldsWeightsAlone) {
  const auto world = single_rank();
  Progress progress;
  ParallelContext context(*world, {1, 1, 1}, progress);
  const TrainOptions options = small_options(1, 1, 1);
  ModelRunner frozen(context, options, small_model(), ModelUse::Frozen),
      trained(context, options, small_model());
  const RankBytes held = frozen.memory()[0], full = trained.memory()[0];
  EXPECT_EQ(held.weights, full.weights);
  EXPECT_EQ(held.gradients, 0u);
  EXPECT_EQ(held.optimizer, 0u);
  EXPECT_THROW(frozen.optimizer(), Error);
  frozen.close();
  trained.close();
}

// What lies ready is taken, also a part of it, and the source is asked for the rest alone.
TEST(Frozen, TakesWhatLiesReady) {
  const ModelConfig config = small_model();
  const auto world = single_rank();
  Progress progress;
  ParallelContext context(*world, {1, 1, 1}, progress);
  const TrainOptions options = small_options(1, 1, 1);
  ModelRunner whole(context, options, config, ModelUse::Frozen);
  whole.load(made_up_weights(config), false);
  const TensorSource at_hand = ready_weights(whole.weights());
  EXPECT_FALSE(at_hand("no such tensor", {{0}, {1}}).defined());
  std::vector<std::string> asked;
  const SlabSource rest = [&](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    asked.push_back(name);
    made_up_weights(config)(name, slab, dtype, dst);
  };
  const TensorSource some = [&](const std::string& name, const Slab& slab) {
    return name == "model.norm.weight" ? at::Tensor{} : at_hand(name, slab);
  };
  ParameterStore half(config, {{0, 0, static_cast<int>(config.layers), true, true}}, 1, 2, DType::F64,
                      at::kCPU, true);
  load_frozen(half, rest, some);
  EXPECT_EQ(asked, std::vector<std::string>{"model.norm.weight"});
  ParameterStore plain(config, {{0, 0, static_cast<int>(config.layers), true, true}}, 1, 2, DType::F64,
                       at::kCPU, true);
  load_frozen(plain, made_up_weights(config));
  for (std::size_t i = 0; i < plain.all().size(); ++i)
    EXPECT_TRUE(at::equal(half.all()[i].weight, plain.all()[i].weight)) << plain.all()[i].spec.name;
  whole.close();
}

// A run of `steps` steps in `folder`; with none, of a frozen model. Returns rank 0's result.
TrainResult run_in(const std::string& folder, TrainOptions options, int steps) {
  TrainResult result;
  options.steps = steps;
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress);
    const ModelConfig config = small_model();
    ModelRunner runner(context, options, config, steps == 0 ? ModelUse::Frozen : ModelUse::Trained);
    const MadeUpBatches batches(options, config.vocab, context.place.dp);
    TrainHooks hooks;
    RunFacts facts;
    facts.folder = folder;
    facts.data_identity = "made up";
    Trainer trainer(context, options, runner, batches, hooks, facts);
    if (!trainer.resume()) runner.load(made_up_weights(config), false);
    const TrainResult mine = trainer.run();
    runner.close();
    if (rank == 0) result = mine;
  });
  return result;
}

TEST(Frozen, SavesWeightsAloneFromWhichTrainingGoesOn) {
  TempFolder temp;
  for (const auto& [pp, tp, dp] : {std::tuple{1, 1, 1}, std::tuple{2, 2, 2}}) {
    const TrainOptions options = small_options(pp, tp, dp);
    const std::string tag = fmt::format("{}{}{}", pp, tp, dp);
    const TrainResult saved = run_in(temp / ("steps" + tag), options, 0);
    const CheckpointReader reader(saved.checkpoint);
    reader.verify();
    EXPECT_EQ(reader.tensors().size(), parameters(small_model()).size());
    for (const Parameter& p : parameters(small_model())) {
      const Slab whole{std::vector<std::int64_t>(p.shape.size(), 0), p.shape};
      std::vector<double> got(static_cast<std::size_t>(p.elements())), want(got.size());
      reader.read(p.name, whole, DType::F64, got.data());
      made_up_weights(small_model())(p.name, whole, DType::F64, want.data());
      EXPECT_EQ(got, want) << p.name;
    }
    EXPECT_EQ(run_in(temp / ("steps" + tag), options, 0).checkpoint, saved.checkpoint);  // nothing to do
    const TrainResult later = run_in(temp / ("steps" + tag), options, 4),
                      direct = run_in(temp / ("direct" + tag), options, 4);
    EXPECT_EQ(later.loss, direct.loss);
    EXPECT_EQ(later.content_hash, direct.content_hash);
  }
}

TEST(PhaseClock, ASecondCountsForTheInnermostPhase) {
  PhaseClock clock(at::kCPU);
  const int seven = clock.in("outer", [&] {
    clock.in("inner", [] {});
    return 7;
  });
  EXPECT_EQ(seven, 7);
  clock.in("inner", [] {});
  const auto phases = clock.seconds();
  ASSERT_EQ(phases.size(), 3u);
  EXPECT_EQ(phases[0].first, "outer");
  EXPECT_EQ(phases[1].first, "inner");
  EXPECT_EQ(phases[2].first, "other");
  for (const auto& [name, seconds] : phases) EXPECT_GE(seconds, 0) << name;
  EXPECT_NE(clock.text().find(" s = outer "), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
