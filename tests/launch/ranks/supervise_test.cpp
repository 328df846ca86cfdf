// with_ranks (as `train --ranks`) above real ranks: exit codes, and signals that let them save before they
// end.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "src/base/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

// with_ranks 2 sh SCRIPT FOLDER, in the background.
pid_t start(const std::string& script, const test::TempFolder& folder) {
  write_file_atomic(folder / "rank.sh", script);
  const std::string program = std::string(std::getenv("LACUNA_BIN")) + "/tests/with_ranks";
  const std::string file = folder / "rank.sh", path = folder.path();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program.c_str(), "with_ranks", "2", "/bin/sh", file.c_str(), path.c_str(), nullptr);
    ::_exit(127);
  }
  return child;
}

int exit_code(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// Files of the folder whose names begin so; ranks write one each.
long count(const test::TempFolder& folder, const std::string& begin) {
  long found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    found += entry.path().filename().string().rfind(begin, 0) == 0;
  return found;
}

bool eventually(const test::TempFolder& folder, const std::string& begin, long wanted) {
  for (int i = 0; i < 600 && count(folder, begin) < wanted; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return count(folder, begin) == wanted;
}

const char* kWaitingRank =
    "trap 'touch $1/saved-$$' USR1\n"
    "trap 'sleep 1; touch $1/stopped-$$; exit 80' USR2\n"
    "touch $1/ready-$$\n"
    "i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n";

TEST(Supervise, TheExitCodeOfARankIsKept) {
  const test::TempFolder folder;
  EXPECT_EQ(exit_code(start("exit 0\n", folder)), 0);
  EXPECT_EQ(exit_code(start("exit 65\n", folder)), 65);
}

TEST(Supervise, SigtermLetsRanksSaveAndStop) {
  const test::TempFolder folder;
  const pid_t child = start(kWaitingRank, folder);
  ASSERT_TRUE(eventually(folder, "ready-", 2));
  ::kill(child, SIGUSR1);
  EXPECT_TRUE(eventually(folder, "saved-", 2));
  EXPECT_EQ(count(folder, "stopped-"), 0);
  const auto asked = std::chrono::steady_clock::now();
  ::kill(child, SIGTERM);
  EXPECT_EQ(exit_code(child), 80);
  EXPECT_EQ(count(folder, "stopped-"), 2);  // both had their second
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(60));
}

TEST(Supervise, ASecondRequestEndsRanksThatDoNotListen) {
  const test::TempFolder folder;
  const pid_t child = start(
      "trap '' USR2 TERM\ntouch $1/ready-$$\ni=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n",
      folder);
  ASSERT_TRUE(eventually(folder, "ready-", 2));
  ::kill(child, SIGTERM);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ::kill(child, SIGTERM);
  EXPECT_NE(exit_code(child), 0);
}

}  // namespace
}  // namespace lacuna
