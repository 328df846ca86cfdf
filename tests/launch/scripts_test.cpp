// The set-up scripts on a machine that lacks something, played by stand-ins for dpkg-query, id and sudo in
// PATH.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "src/base/file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

class Scripts : public testing::Test {
 protected:
  // A program of this name that comes before the system's.
  void stand_in(const std::string& name, const std::string& body) {
    write_file_atomic(folder_ / name, "#!/bin/bash\n" + body + "\n");
    fs::permissions(folder_ / name, fs::perms::owner_all);
  }
  // Runs `command` in bash with the stand-ins; the exit code, with both outputs in out_.
  int run(const std::string& command) {
    const std::string whole = "env -u CI -u LACUNA_BIN PATH=" + folder_.path() +
                              ":$PATH LACUNA_TOOLCHAIN=" + toolchain_ + " bash -c '" + command + "' > " +
                              folder_ / "out" + " 2>&1 < /dev/null";
    const int status = std::system(whole.c_str());
    out_ = read_file(folder_ / "out", 1 << 20);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  bool said(const std::string& text) const { return out_.find(text) != std::string::npos; }
  void all_packages() { stand_in("dpkg-query", "shift 3; for p in \"$@\"; do echo \"$p installed\"; done"); }
  void no_packages() { stand_in("dpkg-query", "exit 1"); }

  test::TempFolder folder_;
  std::string toolchain_ = folder_ / "toolchain";
  std::string out_;
};

TEST_F(Scripts, MissingPackagesAreOneExactCommand) {
  stand_in(
      "dpkg-query",
      "shift 3; for p in \"$@\"; do [ $p = cmake ] || [ $p = libfmt-dev ] || echo \"$p installed\"; done");
  stand_in("id", "echo 0");
  EXPECT_EQ(run("launch/setup.sh --cpu --offline"), 77);
  EXPECT_TRUE(said("  apt-get update; apt-get install -y --no-install-recommends cmake libfmt-dev\n"))
      << out_;
  EXPECT_TRUE(said("--offline, and packages are missing")) << out_;
}

TEST_F(Scripts, WithoutTheRightItPrintsTheCommandAndEndsWith77) {
  no_packages();
  stand_in("id", "echo 1000");
  stand_in("sudo", "echo \"sudo was called\"; exit 1");
  EXPECT_EQ(run("launch/setup.sh --cpu"), 77);  // nobody at the terminal to ask
  EXPECT_TRUE(said("sudo apt-get update; sudo apt-get install -y")) << out_;
  EXPECT_FALSE(said("sudo was called")) << out_;
}

TEST_F(Scripts, YesUsesSudoWithoutAsking) {
  no_packages();
  stand_in("id", "echo 1000");
  stand_in("sudo", "printf \"%s\\n\" \"$*\" >> " + folder_ / "calls");
  run(". launch/lib.sh; LOGS=" + folder_ / "log" + "; parse_shared_flags --cpu --yes; ensure_packages");
  const std::string calls = read_file(folder_ / "calls", 1 << 16);
  EXPECT_EQ(calls.rfind("-n apt-get update\n-n apt-get install -y --no-install-recommends g++ cmake", 0), 0u)
      << calls;
}

TEST_F(Scripts, OfflineWithoutToolchainSaysSo) {
  all_packages();
  EXPECT_EQ(run("launch/setup.sh --cpu --offline"), 77);
  EXPECT_TRUE(said("--offline, and torch 2.11.0 CPU is not in " + toolchain_)) << out_;
  EXPECT_FALSE(fs::exists(toolchain_));
}

TEST_F(Scripts, AStampedToolchainIsTakenWithoutAptOrPip) {
  all_packages();
  for (const char* tool : {"apt-get", "pip", "python3", "curl", "git"}) stand_in(tool, "echo called; exit 1");
  fs::create_directories(toolchain_);
  write_file_atomic(toolchain_ + "/stamp-cpu", "");
  EXPECT_EQ(run("launch/setup.sh --cpu --offline"), 0) << out_;
  EXPECT_FALSE(said("called"));
}

TEST_F(Scripts, ADryRunDoesNothing) {
  no_packages();
  for (const char* tool : {"apt-get", "python3", "cmake"}) stand_in(tool, "echo called; exit 1");
  for (const char* script : {"setup.sh", "quickstart.sh --build-only", "test.sh unit"}) {
    EXPECT_EQ(run("launch/" + std::string(script) + " --cpu --dry-run"), 0) << out_;
    EXPECT_TRUE(said("torch 2.11.0 CPU")) << out_;
    EXPECT_FALSE(said("called")) << out_;
  }
  EXPECT_FALSE(fs::exists(toolchain_));
}

TEST_F(Scripts, AStepThatFailsInsideStopsAndShowsItsOutput) {
  const int code =
      run(". launch/lib.sh; LOGS=" + folder_ / "log" +
          "; set -e; work() { echo before; false; echo behind; }; step \"some work\" work; echo went on");
  EXPECT_EQ(code, 1);
  EXPECT_TRUE(said("some work … failed after")) << out_;
  EXPECT_TRUE(said("    before\n")) << out_;
  EXPECT_FALSE(said("behind")) << out_;
  EXPECT_FALSE(said("went on")) << out_;
}

TEST_F(Scripts, AFailedDownloadLeavesNoToolchain) {
  all_packages();
  stand_in(
      "python3",
      "if [ \"$1\" = -m ]; then mkdir -p $3/bin; printf \"#!/bin/sh\\nexit 1\\n\" > $3/bin/python; chmod +x "
      "$3/bin/python; fi");
  const int code = run(
      ". launch/lib.sh; LOGS=" + folder_ / "log" +
      "; set -e; parse_shared_flags --cpu; find_python() { echo python3; }; ensure_toolchain; echo went on");
  EXPECT_EQ(code, 1) << out_;
  EXPECT_FALSE(said("went on")) << out_;
  EXPECT_FALSE(fs::exists(toolchain_)) << out_;
}

TEST_F(Scripts, JobsAndUnknownFlags) {
  ASSERT_EQ(run(". launch/lib.sh; job_count"), 0);
  EXPECT_GE(std::atoi(out_.c_str()), 1);
  for (const char* script : {"setup.sh", "quickstart.sh", "test.sh"}) {
    EXPECT_EQ(run("launch/" + std::string(script) + " --no-such-flag"), 64) << out_;
    EXPECT_TRUE(said("usage: launch/" + std::string(script))) << out_;
  }
}

}  // namespace
}  // namespace lacuna
