// Stopping, saving and resuming a training from outside: signals, limits, a second process, broken numbers.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <sstream>
#include <thread>

#include "src/base/file.h"
#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

constexpr const char* kLong = "--ranks 2 --pp 2 --steps 400 --save-every 1000";
constexpr const char* kEndless = "--ranks 2 --pp 2 --steps 10000000 --save-every 10000000";

class Stop : public Training {
 protected:
  std::unique_ptr<Job> start(const std::string& out, const std::string& more) const {
    return std::make_unique<Job>(quoted(built("lacuna")) + " " + train_words(out, more), path(""));
  }
  // Lines of log.jsonl of this kind.
  long logged(const std::string& run, const std::string& kind) const {
    if (!exists(run + "/log.jsonl")) return 0;
    std::istringstream text(read_file(path(run + "/log.jsonl"), 1 << 26));
    long found = 0;
    for (std::string line; std::getline(text, line);) found += line.find("{\"kind\":\"" + kind + "\"") == 0;
    return found;
  }
  bool reaches(const std::string& run, const std::string& kind, long wanted) const {
    return eventually([&] { return logged(run, kind) >= wanted; });
  }
};

TEST_F(Stop, SigtermSavesAndTheSameCommandGoesOn) {
  const Json undisturbed = train("undisturbed", kLong);
  const auto job = start("run", std::string(kLong) + " --json");
  ASSERT_TRUE(reaches("run", "train", 3));
  job->signal(SIGTERM);
  const Ended ended = job->wait();
  EXPECT_EQ(ended.exit_code, 80) << ended.err;
  const Json stopped = parse_json(ended.out, "stdout");
  EXPECT_EQ(stopped["stopped"], true);
  const auto step = stopped["steps"].get<std::int64_t>();
  ASSERT_LT(step, 400) << "the signal came too late to show anything";
  EXPECT_EQ(stopped["loss"].size(), static_cast<std::size_t>(step));
  EXPECT_EQ(status("run")["code"], 80);
  EXPECT_EQ(status("run")["step"], step);
  EXPECT_EQ(status("run")["checkpoint"], stopped["checkpoint"]);

  const Json resumed = train("run", kLong);
  EXPECT_EQ(resumed["first_step"], step);
  EXPECT_EQ(resumed["content_hash"], undisturbed["content_hash"]);
  Json losses = stopped["loss"];
  for (const Json& loss : resumed["loss"]) losses.push_back(loss);
  EXPECT_EQ(losses, undisturbed["loss"]);
  EXPECT_EQ(logged("run", "train"), 400);  // each step stands in the log once
}

TEST_F(Stop, ARequestDuringStartUpIsNotLost) {
  for (const int milliseconds : {30, 400}) {
    const auto job = start("run", "--ranks 2 --steps 10000000 --save-every 1000000");
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    job->signal(SIGTERM);
    EXPECT_TRUE(eventually([&] { return !job->running(); }, 40)) << milliseconds;  // far below the grace
    job->signal(SIGTERM);  // ends it at once, should it be there still
    const int code = job->wait().exit_code;
    EXPECT_TRUE(code == 80 || code > 128 || code == -SIGTERM) << code;  // saved, or nothing was there to save
  }
}

TEST_F(Stop, Sigusr1SavesAndTheRunGoesOn) {
  const auto job = start("run", kEndless);
  ASSERT_TRUE(reaches("run", "train", 3));
  job->signal(SIGUSR1);
  ASSERT_TRUE(reaches("run", "checkpoint", 1));
  ASSERT_TRUE(reaches("run", "train", logged("run", "train") + 10)) << "the run did not go on";
  EXPECT_EQ(logged("run", "checkpoint"), 1) << "both ranks hear the signal; it asks for one checkpoint";
  job->signal(SIGTERM);
  const Ended ended = job->wait();
  EXPECT_EQ(ended.exit_code, 80) << ended.err;
  EXPECT_EQ(logged("run", "checkpoint"), 2);
  EXPECT_EQ(lacuna("verify run").exit_code, 0);
}

TEST_F(Stop, ALimitOfTimeSavesAndStops) {
  const Json stopped = train("run", "--steps 1000000 --max-minutes 0.01 --save-every 0", 80);
  EXPECT_EQ(stopped["stopped"], true);
  EXPECT_GE(stopped["steps"], 1);
  EXPECT_EQ(status("run")["code"], 80);
  EXPECT_EQ(answer("inspect run")["step"], stopped["steps"]);
}

TEST_F(Stop, AHeldRunFolderIsRefusedAtOnce) {
  // Nothing is saved before the signal: it is the lock that counts.
  const auto job = start("run", "--ranks 2 --steps 1000000 --save-every 0");
  ASSERT_TRUE(reaches("run", "train", 1));
  for (const char* more : {"", "--ranks 2", "--force", "--resume never"}) {
    const Ended second = lacuna(train_words("run", more));
    EXPECT_EQ(second.exit_code, 77) << more << second.err;
    EXPECT_NE(second.err.find("run is in use by process "), std::string::npos) << second.err;
    EXPECT_EQ(lines(second.err), 1) << second.err;
  }
  const long steps = logged("run", "train");
  EXPECT_TRUE(reaches("run", "train", steps + 5)) << "the first one was disturbed";
  job->signal(SIGTERM);
  EXPECT_EQ(job->wait().exit_code, 80);
  EXPECT_EQ(lacuna("verify run").exit_code, 0);
}

TEST_F(Stop, ARunThatDiedBeforeItsFirstCheckpointStartsAnew) {
  const auto job = start("run", "--steps 1000000 --save-every 10000000");
  ASSERT_TRUE(reaches("run", "train", 2));
  job->signal(SIGKILL);
  EXPECT_EQ(job->wait().exit_code, -SIGKILL);
  EXPECT_EQ(train("run", "--steps 2")["content_hash"], train("other", "--steps 2")["content_hash"]);
  EXPECT_EQ(logged("run", "train"), 2);
}

TEST_F(Stop, DamagedCheckpointsAreNamedAndPassedOver) {
  const Json whole = train("run", "--steps 6 --save-every 2");
  damage("run/step-000000006/rank-000.h5");
  const Ended ended = lacuna(train_words("run", "--ranks 2 --pp 2 --steps 6 --save-every 2 --json"));
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_NE(ended.err.find("run/step-000000006/rank-000.h5: its hash is"), std::string::npos) << ended.err;
  EXPECT_EQ(parse_json(ended.out, "stdout")["first_step"], 4);
  EXPECT_EQ(parse_json(ended.out, "stdout")["content_hash"], whole["content_hash"]);
  // All of them damaged: beginning anew is not ours to decide.
  for (const char* step : {"2", "4", "6"}) damage(std::string("run/step-00000000") + step + "/rank-000.h5");
  const Ended none = lacuna(train_words("run", "--ranks 2 --steps 8"));
  EXPECT_EQ(none.exit_code, 65);
  EXPECT_NE(none.err.find("error: run: none of its 3 checkpoints can be used"), std::string::npos)
      << none.err;
  EXPECT_EQ(train("run", "--force --steps 1")["first_step"], 0);
}

// On a disk of its own that has room for one checkpoint; its state is copied to `after`.
TEST_F(Stop, AFullDiskEndsTheRunWith74AndKeepsWhatWasSaved) {
  const std::string mount = "mkdir disk && mount -t tmpfs -o size=1900k none disk";
  if (run("unshare -rm sh -c " + quoted(mount), path("")).exit_code != 0)
    GTEST_SKIP() << "cannot mount a disk";
  const std::string words = train_words("disk/run", "--steps 12 --save-every 1");
  const std::string script = "mount -t tmpfs -o size=1900k none disk; " + quoted(built("lacuna")) + " " +
                             words + "; code=$?; cp -r disk/run after; exit $code";
  const Ended ended = run("unshare -rm sh -c " + quoted(script), path(""));
  EXPECT_EQ(ended.exit_code, 74) << ended.err;
  for (const char* part : {"warning: step 2: not saved", "warning: step 3: not saved", "training goes on",
                           "while saving step 4 in disk/run"})
    EXPECT_NE(ended.err.find(part), std::string::npos) << part << ": " << ended.err;
  EXPECT_EQ(lines(ended.err), 3) << ended.err;
  EXPECT_EQ(status("after")["code"], 74);
  EXPECT_EQ(status("after")["step"], 4);
  EXPECT_EQ(status("after")["checkpoint"], "disk/run/step-000000001");
  EXPECT_EQ(lacuna("verify after").exit_code, 0);
  EXPECT_EQ(train("after", "--steps 3")["first_step"], 1);
}

TEST_F(Stop, NumbersThatBreakEndTheRunWith81) {
  for (const char* ranks : {"", "--ranks 2"}) {
    const Ended ended = lacuna(
        train_words("run", std::string("--steps 10 --save-every 1 --lr 1e30 --clip 0 --json ") + ranks));
    EXPECT_EQ(ended.exit_code, 81) << ended.err;
    EXPECT_TRUE(ended.out.empty());
    // Step 1 is sound and writes weights of 1e30; the three after it are skipped, the third ends the run.
    for (const char* part : {"warning: step 2 skipped", "warning: step 3 skipped", "error: step 4: loss",
                             "first bad gradient on rank 0, stage 0: model.embed_tokens.weight",
                             "3 steps skipped in a row (limit 3)"})
      EXPECT_NE(ended.err.find(part), std::string::npos) << part << ": " << ended.err;
    EXPECT_EQ(lines(ended.err), 3) << ended.err;
    EXPECT_EQ(status("run")["code"], 81);
    EXPECT_EQ(status("run")["step"], 3);
    EXPECT_EQ(status("run")["checkpoint"], "run/step-000000003");
    EXPECT_EQ(lacuna("verify run").exit_code, 0);
    EXPECT_EQ(answer("inspect run")["step"], 3);
    std::filesystem::remove_all(path("run"));
  }
}

}  // namespace
}  // namespace lacuna::test
