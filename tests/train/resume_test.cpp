// Stopping and going on changes no byte: at every step, and from one layout to another.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"
#include "src/train/model_identity.h"
#include "tests/support/test_data.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 12;

// A run in `folder` up to `until` of kSteps steps; resumes what lies there. Returns rank 0's result.
TrainResult train_until(const std::string& folder, TrainOptions options, int until,
                        const std::string& teacher = "") {
  options.lr_schedule = "cosine";
  options.warmup_steps = 3;
  const ModelConfig config = small_model();
  TrainResult result;
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    at::set_num_threads(1);
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress);
    TrainOptions mine = options;
    mine.steps = kSteps;
    ModelRunner runner(context, mine, config);
    const MadeUpBatches batches(mine, config.vocab, context.place.dp);
    class StopAt : public TrainHooks {
     public:
      explicit StopAt(int at) : at_(at) {}
      void before_step(StepControl& control) override { control.stop_after = control.step + 1 >= at_; }

     private:
      int at_;
    } hooks(until);
    RunFacts facts;
    facts.folder = folder;
    facts.data_identity = "made up";
    facts.teacher_identity = teacher;
    Trainer trainer(context, mine, runner, batches, hooks, facts);
    if (!trainer.resume()) runner.initialise(mine.seed);
    const TrainResult mine_result = trainer.run();
    runner.close();
    if (rank == 0) result = mine_result;
  });
  return result;
}

TEST(Resume, AtEveryStepGivesEqualBytes) {
  TempFolder temp;
  const TrainOptions options = small_options(2, 1, 1);
  const TrainResult whole = train_until(temp / "whole", options, kSteps);
  ASSERT_EQ(whole.steps, kSteps);
  for (int k = 1; k < kSteps; ++k) {
    const std::string folder = temp / fmt::format("stop{}", k);
    const TrainResult first = train_until(folder, options, k);
    ASSERT_EQ(first.steps, k);
    ASSERT_TRUE(first.stopped);
    const TrainResult second = train_until(folder, options, kSteps);
    EXPECT_EQ(second.first_step, k);
    EXPECT_EQ(second.content_hash, whole.content_hash) << "stopped after step " << k;
  }
}

TEST(Resume, RefusesAnotherTeacher) {
  TempFolder temp;
  const TrainOptions options = small_options(1, 1, 1);
  train_until(temp / "run", options, 2, "one");
  try {
    train_until(temp / "run", options, 4, "two");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 65);
    EXPECT_NE(std::string(error.what())
                  .find("step-000000002 was distilled from another teacher (identity one against two)"),
              std::string::npos)
        << error.what();
  }
  EXPECT_EQ(train_until(temp / "run", options, 4, "one").first_step, 2);
  EXPECT_EQ(train_until(temp / "run", options, 5).first_step, 4) << "no more distilling";
}

TEST(ModelIdentity, IsOfConfigurationAndValuesNotOfRanks) {
  const ModelConfig config = small_teacher();
  const auto identity = [](const ModelConfig& of, const SlabSource& weights, int ranks) {
    std::string text;
    run_local(ranks, [&](Communicator& world, int rank) {
      const std::string mine = model_identity(of, weights, world);
      if (rank == ranks - 1) text = mine;
    });
    return text;
  };
  const SlabSource weights = made_up_weights(config);
  const std::string one = identity(config, weights, 1);
  EXPECT_EQ(one.size(), 48u);
  EXPECT_EQ(identity(config, weights, 3), one);
  ModelConfig relu = config;
  relu.activation = Activation::Relu;
  EXPECT_NE(identity(relu, weights, 1), one);
  const SlabSource nudged = [&](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    weights(name, slab, dtype, dst);
    if (name == "model.norm.weight") static_cast<float*>(dst)[1] += 1e-6f;
  };
  EXPECT_NE(identity(config, nudged, 1), one);
}

TEST(Resume, UnderAnotherLayoutStartsFromEqualContentAndStaysClose) {
  TempFolder temp;
  const TrainResult written = train_until(temp / "origin", small_options(2, 2, 1), 5);
  const TrainResult reference = train_until(temp / "origin", small_options(2, 2, 1), kSteps);
  for (const auto& [pp, tp, dp] : {std::tuple{1, 1, 1}, std::tuple{4, 1, 1}, std::tuple{1, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    const std::string folder = temp / fmt::format("as-{}-{}-{}", pp, tp, dp);
    std::filesystem::create_directories(folder);
    std::filesystem::copy(written.checkpoint, folder + "/step-000000005",
                          std::filesystem::copy_options::recursive);
    TrainOptions options = small_options(pp, tp, dp);
    const TrainResult loaded = train_until(folder, options, kSteps);
    EXPECT_EQ(loaded.first_step, 5);
    ASSERT_EQ(loaded.loss.size(), reference.loss.size());
    for (std::size_t i = 0; i < loaded.loss.size(); ++i)
      EXPECT_NEAR(loaded.loss[i], reference.loss[i], 1e-12 * reference.loss[i]);
    // Reading and writing again under the new layout keeps every byte.
    const CheckpointReader before(written.checkpoint);
    EXPECT_EQ(before.content_hash().hex(), written.content_hash);
  }
}

TEST(Resume, RefusesAnotherModelAndOtherData) {
  TempFolder temp;
  const TrainOptions options = small_options(1, 1, 1);
  train_until(temp / "run", options, 2);
  Progress progress;
  const auto world = single_rank();
  ParallelContext context(*world, {1, 1, 1}, progress);
  TrainHooks hooks;
  const auto message = [&](const ModelConfig& config, const std::string& data) {
    ModelRunner runner(context, options, config);
    const MadeUpBatches batches(options, config.vocab, 0);
    RunFacts facts;
    facts.folder = temp / "run";
    facts.data_identity = data;
    std::string text;
    try {
      Trainer(context, options, runner, batches, hooks, facts).resume();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::BadInput);
      text = error.what();
    }
    runner.close();
    return text;
  };
  EXPECT_NE(message(small_model(), "other").find("other tokens"), std::string::npos);
  ModelConfig wider = small_model();
  wider.ffn = 64;
  EXPECT_NE(message(wider, "made up").find("another model"), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
