// What keeps a run folder in order: retention, the lock with its generations, status.json, the shared search.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "parallel/run/local_communicator.h"
#include "src/base/file.h"
#include "src/checkpoint/retention.h"
#include "src/checkpoint/run_lock.h"
#include "src/checkpoint/status_file.h"
#include "tests/checkpoint/sample.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

namespace fs = std::filesystem;
using Steps = std::vector<std::int64_t>;

TEST(Retention, Rules) {
  SaveOptions options;
  options.keep_last = 2;
  EXPECT_EQ(steps_to_delete({10, 40, 30, 20}, 40, options), (Steps{20, 10}));
  options.keep_every = 20;
  EXPECT_EQ(steps_to_delete({10, 20, 30, 40, 50}, 50, options), (Steps{30, 10}));
  options.resumed_from = 10;
  EXPECT_EQ(steps_to_delete({10, 20, 30, 40, 50}, 50, options), (Steps{30}));
  options.keep_last = 0;  // the newest stays all the same
  EXPECT_EQ(steps_to_delete({11}, 11, options), (Steps{}));
  // After going back to step 15 the abandoned later steps do not push out what was just saved.
  options = {};
  options.keep_last = 1;
  EXPECT_EQ(steps_to_delete({10, 16, 30}, 16, options), (Steps{10}));
  EXPECT_EQ(steps_to_delete({}, 5, options), (Steps{}));
}

TEST(Retention, AFolderOverTenSaves) {
  const TempFolder run;
  const Sample sample = make_sample(1);
  SaveOptions options;
  options.keep_last = 2;
  options.keep_every = 4;
  options.resumed_from = 3;
  for (std::int64_t step = 1; step <= 10; ++step) save(run.path(), sample, step, {}, options);
  EXPECT_EQ(entries(run.path()),
            (std::vector<std::string>{"latest", "step-000000003", "step-000000004", "step-000000008",
                                      "step-000000009", "step-000000010"}));
  EXPECT_EQ(read_file(run / "latest", 100), "step-000000010\n");
}

TEST(Retention, LeftOversOfDeadGenerationsGoAtTheNextSave) {
  const TempFolder run;
  for (const char* name : {"step-000000005.tmp-1", ".trash-step-000000001", "step-000000006.tmp-2",
                           "step-000000007.tmp-2", "notes", "step-5.tmp-1"}) {
    fs::create_directory(run / name);
    std::ofstream(run / name + "/x") << "x";
  }
  remove_left_overs(run.path(), 7, "2");
  EXPECT_EQ(entries(run.path()), (std::vector<std::string>{"notes", "step-000000006.tmp-2", "step-5.tmp-1"}));
}

TEST(Lock, OneHolderAndGrowingGenerations) {
  const TempFolder folder;
  const std::string run = folder / "a/b";
  std::string id;
  {
    const RunLock first(run);
    id = first.run_id();
    EXPECT_EQ(id.size(), 16u);
    EXPECT_EQ(first.identity().generation, 1);
    const std::string text = error_of(ErrorKind::Permission, [&] { RunLock second(run); });
    EXPECT_NE(text.find(fmt::format("{} is in use by process {} on ", run, getpid())), std::string::npos)
        << text;
    EXPECT_NE(text.find("(generation 1)"), std::string::npos) << text;
  }
  RunLock second(run);
  EXPECT_EQ(second.generation(), "2");
  EXPECT_EQ(second.run_id(), id);
  const RunLock moved(std::move(second));
  error_of(ErrorKind::Permission, [&] { RunLock third(run); });
  EXPECT_EQ(read_run_identity(run)->generation, 2);
  EXPECT_FALSE(read_run_identity(folder.path()));
}

TEST(Lock, AKilledHolderGivesItBack) {
  const TempFolder run;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunLock lock(run.path());
    if (write(ends[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ends[0], &byte, 1), 1);
  const std::string text = error_of(ErrorKind::Permission, [&] { RunLock mine(run.path()); });
  EXPECT_NE(text.find(fmt::format("process {} ", child)), std::string::npos) << text;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(RunLock(run.path()).generation(), "2");
  close(ends[0]);
  close(ends[1]);
}

TEST(Lock, ADamagedIdentityIsNotGuessed) {
  const TempFolder run;
  std::ofstream(run / "run.json") << "{\"generation\": ";
  error_of(ErrorKind::BadInput, [&] { RunLock lock(run.path()); });
  std::ofstream(run / "run.json", std::ios::trunc) << "{\"generation\": 4, \"run_id\": \"x\"}";
  EXPECT_EQ(RunLock(run.path()).generation(), "5");
}

TEST(Status, ComesBack) {
  const TempFolder run;
  error_of(ErrorKind::BadInput, [&] { read_status(run.path()); });
  const RunStatus status{75, 1234, "step-000001200", "rank 3: \"lost\" peer \\ é\n"};
  write_status(run.path(), {});
  write_status(run.path(), status);
  const RunStatus got = read_status(run.path());
  EXPECT_EQ(got.code, 75);
  EXPECT_EQ(got.step, 1234);
  EXPECT_EQ(got.checkpoint, status.checkpoint);
  EXPECT_EQ(got.message, status.message);
  EXPECT_EQ(entries(run.path()), (std::vector<std::string>{"status.json"}));
  write_status(run.path(), {70, 1, "", "bytes \xff\xfe"});
  EXPECT_EQ(read_status(run.path()).message, "bytes \xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Newest, RanksAgreeOnTheNewestWholeStep) {
  const TempFolder folder;
  const std::string run = folder / "run";
  const Topology four{2, 2, 1};
  for (std::int64_t step = 1; step <= 4; ++step) {
    SaveOptions keep;
    keep.keep_last = 9;
    save(run, make_sample(static_cast<std::uint64_t>(step)), step, four, keep);
  }
  fs::remove(run + "/step-000000004/manifest.json");
  const std::string damaged = run + "/step-000000003/rank-002.h5";
  std::string bytes = read_file(damaged, 1 << 30);
  bytes[bytes.size() / 3] ^= 4;
  std::ofstream(damaged, std::ios::binary) << bytes;
  run_local(3, [&](Communicator& world, int) {
    std::vector<std::string> rejected;
    EXPECT_EQ(newest_checkpoint(run, world, &rejected), run + "/step-000000002");
    ASSERT_EQ(rejected.size(), 2u);
    EXPECT_NE(rejected[0].find("step-000000004/manifest.json: No such file"), std::string::npos)
        << rejected[0];
    EXPECT_NE(rejected[1].find("step-000000003/rank-002.h5: its hash is"), std::string::npos) << rejected[1];
    EXPECT_EQ(newest_checkpoint(folder / "absent", world), "");
  });
}

}  // namespace
}  // namespace lacuna::test
