// kill -9 in the middle of a save: the newest step that was committed is there, whole, afterwards.
#include <gtest/gtest.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "src/base/rng.h"
#include "src/checkpoint/step_folders.h"
#include "tests/checkpoint/sample.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

const Topology kFour{2, 2, 1};

Sample sample_of(std::int64_t step) {
  return make_sample(static_cast<std::uint64_t>(step), DType::F32, 2);
}

// Runs body() in a child; how it ended.
template <class Body>
int status_of_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(Kill, AtEachPointOfTheProtocol) {
  struct Point {
    const char* name;
    int ranks;       // killed on each of so many
    bool committed;  // the new step exists
  };
  const Point points[] = {
      {"after_prepare", 1, false},   {"before_write", 4, false},   {"mid_write", 4, false},
      {"before_close", 4, false},    {"before_sync", 4, false},    {"after_write", 4, false},
      {"before_manifest", 1, false}, {"after_manifest", 1, false}, {"before_rename", 1, false},
      {"after_rename", 1, true},     {"after_latest", 1, true},    {"mid_delete", 1, true}};
  const TempFolder folder;
  const Sample first = sample_of(1), second = sample_of(2), third = sample_of(3);
  save(folder / "before", first, 1, kFour);
  int kills = 0;
  for (const Point& point : points)
    for (int rank = 0; rank < point.ranks; ++rank) {
      const std::string run = folder / fmt::format("{}-{}", point.name, rank);
      std::filesystem::copy(folder / "before", run, std::filesystem::copy_options::recursive);
      SaveOptions options;
      options.keep_last = 1;
      const int status = status_of_child([&] {
        setenv("LACUNA_FAULT", fmt::format("{}:{}:kill", point.name, rank).c_str(), 1);
        save(run, second, 2, kFour, options);
      });
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << point.name;
      ++kills;
      const CheckpointReader reader(run);
      reader.verify();
      EXPECT_TRUE(holds(reader, point.committed ? second : first)) << point.name << rank;
      // The next generation goes on and leaves nothing behind.
      options.generation = "1";
      save(run, third, 3, {}, options);
      EXPECT_TRUE(holds(CheckpointReader(run), third));
      EXPECT_EQ(entries(run), (std::vector<std::string>{"latest", "step-000000003"})) << point.name;
    }
  EXPECT_EQ(kills, 27);
}

struct Killed {
  std::int64_t committed = 0;  // the last save that had returned
  bool inside = false;         // a save was under way
};

// Saves step after step, telling `pipe_end` when each begins and has returned.
[[noreturn]] void save_forever(const std::string& run, int pipe_end, const SaveOptions& options) {
  for (std::int64_t step = 1;; ++step) {
    const Sample sample = sample_of(step);
    if (write(pipe_end, "<", 1) != 1) _exit(1);
    try {
      save(run, sample, step, kFour, options);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
      _exit(1);
    }
    if (write(pipe_end, ">", 1) != 1) _exit(1);
  }
}

// A child that saves forever; it is killed `delay` times the length of its first save after that one.
Killed save_until_killed(const std::string& run, double delay, const SaveOptions& options) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = fork();
  if (child == 0) save_forever(run, ends[1], options);
  close(ends[1]);
  Killed out;
  char what = 0;
  const auto next = [&] {
    if (read(ends[0], &what, 1) != 1) return false;
    out.inside = what == '<';
    out.committed += what == '>';
    return true;
  };
  if (!next()) throw std::runtime_error("the child said nothing");
  const auto begin = std::chrono::steady_clock::now();
  if (!next()) throw std::runtime_error("the child could not save");
  std::this_thread::sleep_for((std::chrono::steady_clock::now() - begin) * delay);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  while (next()) {
  }
  close(ends[0]);
  return out;
}

TEST(Kill, AtRandomTimes) {
  const TempFolder folder;
  const std::uint64_t key = rng_key(static_cast<std::uint64_t>(getpid()), "kill times");
  int inside = 0, kills = 0;
  std::int64_t steps = 0;
  for (; kills < 24 || (inside < 10 && kills < 200); ++kills) {
    const std::string run = folder / std::to_string(kills);
    SaveOptions options;
    options.keep_last = 2;
    const double delay = 2.5 * rng_uniform(key, static_cast<std::uint64_t>(kills));
    const Killed killed = save_until_killed(run, delay, options);
    inside += killed.inside;
    steps += killed.committed;
    std::vector<std::string> rejected;
    const CheckpointReader reader(run, &rejected);
    EXPECT_TRUE(rejected.empty()) << rejected[0];
    EXPECT_GE(reader.meta().step, killed.committed) << "a committed step is lost";
    EXPECT_LE(reader.meta().step, killed.committed + 1);
    reader.verify();
    EXPECT_TRUE(holds(reader, sample_of(reader.meta().step)));
  }
  std::printf("%d kills, %d inside a save, %lld steps committed before them (seed %d)\n", kills, inside,
              static_cast<long long>(steps), getpid());
  EXPECT_GE(inside, 10);
}

}  // namespace
}  // namespace lacuna::test
