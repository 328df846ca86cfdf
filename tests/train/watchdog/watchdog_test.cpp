#include "src/train/watchdog.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST(Watchdog, LineNamesRankPlacePeerAndWhatEndedLast) {
  Progress p;
  p.phase = "step", p.step = 1204, p.doing = "recv F", p.with = "pp", p.micro = 5, p.stage = 2, p.peer = 1;
  p.last = "forward", p.last_micro = 4, p.last_stage = 2;
  char text[400];
  describe_hang(p, 3, "node7", 60'400ms, text, sizeof text);
  EXPECT_STREQ(
      text,
      "rank 3 (node7): no progress for 60 s at step 1204 (step), in recv F micro 5 of stage 2, waiting for "
      "rank 1 of 'pp'; last ended: forward micro 4 of stage 2");
  const Progress fresh;
  describe_hang(fresh, 0, "a", 1500ms, text, sizeof text);
  EXPECT_STREQ(text, "rank 0 (a): no progress for 1.5 s at step 0 (start), in its own work");
  describe_hang(p, 3, "node7", 60s, text, 30);  // never writes past the end
  EXPECT_STREQ(text, "rank 3 (node7): no progress f");
}

TEST(Watchdog, DeadlinesFollowThePhase) {
  Progress progress;
  const std::int64_t outer = progress.deadline_ms;
  {
    const DeadlineScope step(progress, "step", 7s);
    EXPECT_EQ(progress.deadline_ms, 7000);
    {
      const DeadlineScope save(progress, "checkpoint", 70s);
      EXPECT_STREQ(progress.phase, "checkpoint");
      EXPECT_EQ(progress.deadline_ms, 70'000);
    }
    EXPECT_STREQ(progress.phase, "step");
    EXPECT_EQ(progress.deadline_ms, 7000);
  }
  EXPECT_EQ(progress.deadline_ms, outer);
  EXPECT_EQ(step_deadline(0.2), kStepDeadline);
  EXPECT_EQ(step_deadline(9), 90s);
  EXPECT_EQ(checkpoint_deadline(0), kCheckpointDeadline);
  EXPECT_EQ(checkpoint_deadline(200), 1000s);
}

// One rank of three forgets a collective: the others' dogs bark, each once, and say for whom it waits.
TEST(Watchdog, RanksThatAreThreadsCallBack) {
  std::mutex mutex;
  std::vector<std::string> lines;
  std::atomic<int> barks{0};
  const auto begin = Clock::now();
  run_local(
      3,
      [&](Communicator& world, int rank) {
        Progress progress;
        progress.phase = "step";
        progress.deadline_ms = 300;
        world.report_to(&progress);
        WatchdogOptions options;
        options.rank = rank;
        options.poll = 20ms;
        options.on_hang = [&](const char* line) {
          const std::lock_guard lock(mutex);
          lines.emplace_back(line);
          ++barks;
        };
        const Watchdog watchdog(progress, options);
        if (rank == 1) {
          while (barks < 2 && Clock::now() - begin < 20s) {
            progress.tick();  // busy with something else
            std::this_thread::sleep_for(10ms);
          }
        }
        sum_over(world, 1.0);
      },
      30s);
  EXPECT_GE(Clock::now() - begin, 300ms);
  ASSERT_EQ(lines.size(), 2u);
  for (const std::string& line : lines) {
    EXPECT_NE(line.find("in all-reduce, waiting for rank 1 of 'world'"), std::string::npos) << line;
  }
}

struct Ended {
  int code = -1;
  double seconds = 0;
  std::string text;
};

// Runs four ranks of hanging_ranks; `token` marks their command lines.
Ended run_ranks(const std::string& mode, int deadline_ms, const std::string& token) {
  const char* folder = std::getenv("LACUNA_BIN");
  LACUNA_CHECK(folder, ErrorKind::BadInput, "LACUNA_BIN names the build folder; run this test through ctest");
  const std::string command =
      fmt::format("exec timeout -s KILL 90 {} -n 4 {}/tests/hanging_ranks {} {} {} 2>&1", LACUNA_MPIEXEC,
                  folder, mode, deadline_ms, token);
  const auto begin = Clock::now();
  FILE* pipe = popen(command.c_str(), "r");
  Ended out;
  char line[1024];
  while (fgets(line, sizeof line, pipe)) out.text += line;
  const int status = pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  out.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return out;
}

// Processes that carry the token and are not dead.
int alive(const std::string& token) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string line{std::istreambuf_iterator<char>(file), {}};
    count += line.find(token) != std::string::npos;
  }
  return count;
}

void expect_nobody_left(const std::string& token) {
  const auto limit = Clock::now() + 8s;
  while (alive(token) > 0 && Clock::now() < limit) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(alive(token), 0);
}

class HangingRanks : public testing::TestWithParam<const char*> {};

TEST_P(HangingRanks, EndWith75AndLeaveNobodyBehind) {
  const std::string token = fmt::format("token-{}-{}", GetParam(), getpid());
  const Ended ended = run_ranks(GetParam(), 1500, token);
  EXPECT_EQ(ended.code, 75) << ended.text;
  EXPECT_GE(ended.seconds, 1.5);
  EXPECT_LT(ended.seconds, 10);  // deadline, two seconds for the job to end, and its start on a busy machine
  RecordProperty("seconds", std::to_string(ended.seconds));
  std::printf("%s: %.1f s\n%s", GetParam(), ended.seconds, ended.text.c_str());
  EXPECT_NE(ended.text.find("no progress for"), std::string::npos) << ended.text;
  EXPECT_NE(ended.text.find("at step 2 (step)"), std::string::npos) << ended.text;
  expect_nobody_left(token);
}
INSTANTIATE_TEST_SUITE_P(Modes, HangingRanks, testing::Values("stop", "sleep", "away"));

// Errors and deaths of one rank end the job long before any deadline, with their own code.
TEST(Watchdog, FailingAndKilledRanksEndTheJob) {
  const Ended failed = run_ranks("fail", 60'000, "token-fail");
  EXPECT_EQ(failed.code, 81) << failed.text;
  EXPECT_NE(failed.text.find("loss is not a number (while forward of micro-batch 3 on stage 1)"),
            std::string::npos)
      << failed.text;
  expect_nobody_left("token-fail");
  const Ended killed = run_ranks("kill", 60'000, "token-kill");
  EXPECT_EQ(killed.code, 137) << killed.text;
  expect_nobody_left("token-kill");
  EXPECT_LT(failed.seconds + killed.seconds, 30);
}

TEST(Watchdog, SlowStepsAndLongCheckpointsAreNoHang) {
  const Ended ended = run_ranks("steady", 1000, "token-steady");
  EXPECT_EQ(ended.code, 0) << ended.text;
  EXPECT_EQ(ended.text, "");
  EXPECT_GE(ended.seconds, 3.0);
}

}  // namespace
}  // namespace lacuna
