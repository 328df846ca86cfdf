// The result of `train --json`, and what of it must agree with the checkpoint.
#include <set>

#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

using Result = Training;

TEST_F(Result, HasTheKeysThatScriptsRelyOn) {
  const Json result = train("run", "--steps 6 --lr 1e-3");
  std::set<std::string> keys;
  for (const auto& [key, value] : result.items()) keys.insert(key);
  EXPECT_EQ(keys, (std::set<std::string>{"schema", "steps", "first_step", "loss", "grad_norm", "valid_loss",
                                         "ffn_zeros_per_layer", "skipped", "stopped", "tokens_per_s",
                                         "content_hash", "checkpoint"}));
  EXPECT_EQ(result.begin().key(), "schema");
  EXPECT_EQ(result["steps"], 6);
  EXPECT_EQ(result["checkpoint"], "run/step-000000006");
  ASSERT_EQ(result["loss"].size(), 6u);
  ASSERT_EQ(result["grad_norm"].size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(result["loss"][i].get<double>(), 5.7, 0.2);  // ln 300 = 5.70: nothing is learnt yet
    EXPECT_GT(result["grad_norm"][i].get<double>(), 0);
  }
  EXPECT_LT(result["loss"][5].get<double>(), result["loss"][0].get<double>());
}

TEST_F(Result, AgreesWithTheCheckpointAndItsRun) {
  const Json result = train("run", "--steps 3");
  for (const char* what : {"run", "run/step-000000003"}) {
    const Json facts = answer(std::string("inspect ") + what);
    EXPECT_EQ(facts["content_hash"], result["content_hash"]);
    EXPECT_EQ(facts["step"], 3);
    EXPECT_EQ(lacuna(std::string("verify ") + what).exit_code, 0);
  }
  EXPECT_EQ(status("run")["code"], 0);
  EXPECT_EQ(status("run")["checkpoint"], "run/step-000000003");
  // The same command once more: nothing is left to do, and the same is reported.
  const Json again = train("run", "--steps 3");
  EXPECT_EQ(again["first_step"], 3);
  EXPECT_TRUE(again["loss"].empty());
  EXPECT_EQ(again["content_hash"], result["content_hash"]);
}

TEST_F(Result, PipelineStagesChangeNoBit) {
  const Json alone = train("alone", "--steps 4"), staged = train("staged", "--ranks 2 --pp 2 --steps 4");
  EXPECT_EQ(alone["content_hash"], staged["content_hash"]);
  EXPECT_EQ(alone["loss"], staged["loss"]);
  EXPECT_EQ(alone["grad_norm"], staged["grad_norm"]);
  EXPECT_NE(train("seed", "--steps 4 --seed 2")["content_hash"], alone["content_hash"]);
  const Json replicas = train("replicas", "--ranks 2 --steps 4");  // sums in another order: close, not equal
  EXPECT_NEAR(replicas["loss"][3].get<double>(), alone["loss"][3].get<double>(), 1e-4);
}

// Ranks as threads of one process: the same run as under mpirun, and the same refusals.
TEST_F(Result, VirtualRanksAreRanks) {
  const Json threads = train("threads", "--virtual-ranks 4 --pp 2 --tp 2 --steps 4 --lr 1e-3");
  const Json processes = train("processes", "--ranks 4 --pp 2 --tp 2 --steps 4 --lr 1e-3");
  EXPECT_EQ(threads["loss"], processes["loss"]);
  EXPECT_EQ(threads["grad_norm"], processes["grad_norm"]);
  EXPECT_EQ(threads["content_hash"], processes["content_hash"]);
  const Ended both = lacuna(train_words("both", "--ranks 2 --virtual-ranks 2 --dp 2 --steps 1"));
  EXPECT_EQ(both.exit_code, 64) << both.err;
  EXPECT_NE(both.err.find("--virtual-ranks makes ranks of one process"), std::string::npos) << both.err;
}

TEST_F(Result, ProgressGoesToStderr) {
  const Ended ended = lacuna(
      "train --arch arch.ini --data tokens.h5 --global-batch 4 --seq-len 16 -o run --steps 2 --json --ranks "
      "2");
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(lines(ended.out), 1);
  EXPECT_NE(ended.err.find("[0/2] train: new model arch.ini"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("step 2/2 loss"), std::string::npos);
  EXPECT_EQ(ended.err.find("[1/2]"), std::string::npos) << "the main rank speaks alone: " << ended.err;
}

}  // namespace
}  // namespace lacuna::test
