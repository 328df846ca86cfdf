// with_ranks (as `train --ranks`) above real ranks: exit codes, and signals that let them save before they
// end.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "src/base/file.h"
#include "tests/support/program.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

// with_ranks 2 sh SCRIPT FOLDER, in the background.
std::unique_ptr<test::Job> start(const std::string& script, const test::TempFolder& folder) {
  write_file_atomic(folder / "rank.sh", script);
  return std::make_unique<test::Job>(
      test::quoted(test::built("tests/with_ranks")) + " 2 /bin/sh rank.sh " + test::quoted(folder.path()),
      folder.path());
}

// Files of the folder whose names begin so; ranks write one each.
long count(const test::TempFolder& folder, const std::string& begin) {
  long found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    found += entry.path().filename().string().rfind(begin, 0) == 0;
  return found;
}

bool eventually(const test::TempFolder& folder, const std::string& begin, long wanted) {
  return test::eventually([&] { return count(folder, begin) >= wanted; }, 30) &&
         count(folder, begin) == wanted;
}

const char* kWaitingRank =
    "trap 'touch $1/saved-$$' USR1\n"
    "trap 'sleep 1; touch $1/stopped-$$; exit 80' USR2\n"
    "touch $1/ready-$$\n"
    "i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n";

TEST(Supervise, TheExitCodeOfARankIsKept) {
  const test::TempFolder folder;
  EXPECT_EQ(start("exit 0\n", folder)->wait().exit_code, 0);
  EXPECT_EQ(start("exit 65\n", folder)->wait().exit_code, 65);
}

TEST(Supervise, SigtermLetsRanksSaveAndStop) {
  const test::TempFolder folder;
  const auto job = start(kWaitingRank, folder);
  ASSERT_TRUE(eventually(folder, "ready-", 2));
  job->signal(SIGUSR1);
  EXPECT_TRUE(eventually(folder, "saved-", 2));
  EXPECT_EQ(count(folder, "stopped-"), 0);
  const auto asked = std::chrono::steady_clock::now();
  job->signal(SIGTERM);
  EXPECT_EQ(job->wait().exit_code, 80);
  EXPECT_EQ(count(folder, "stopped-"), 2);  // both had their second
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(60));
}

TEST(Supervise, ASecondRequestEndsRanksThatDoNotListen) {
  const test::TempFolder folder;
  const auto job = start(
      "trap '' USR2 TERM\ntouch $1/ready-$$\ni=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n",
      folder);
  ASSERT_TRUE(eventually(folder, "ready-", 2));
  job->signal(SIGTERM);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  job->signal(SIGTERM);
  EXPECT_NE(job->wait().exit_code, 0);
}

}  // namespace
}  // namespace lacuna
