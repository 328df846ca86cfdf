// The program `lacuna` seen from outside: exit codes, one line on stderr, the hand-over; and run_guarded
// inside.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <new>
#include <stdexcept>

#include "launch/dispatch.h"
#include "launch/output.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

struct Result {
  int exit_code = -1;
  std::string out, err;
};

std::string program() {
  const char* folder = std::getenv("LACUNA_BIN");
  return folder ? std::string(folder) + "/lacuna" : "";
}

Result shell(const std::string& command) {
  const test::TempFolder folder;
  const int status = std::system(
      ("( " + command + " ) >" + folder / "out" + " 2>" + folder / "err" + " </dev/null").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder / "out", 1 << 20),
          read_file(folder / "err", 1 << 20)};
}

class Program : public testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(program().empty()) << "LACUNA_BIN names the build folder"; }
};

TEST_F(Program, VersionAndHelpGoToStdout) {
  const Result version = shell(program() + " --version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out.rfind("lacuna ", 0), 0u);
  const Result help = shell(program() + " --help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("usage: lacuna VERB"), std::string::npos);
  EXPECT_TRUE(help.err.empty());
  const Result nothing = shell(program());
  EXPECT_EQ(nothing.exit_code, 64);
  EXPECT_TRUE(nothing.out.empty());
  EXPECT_FALSE(nothing.err.empty());
}

TEST_F(Program, AnUnknownVerbIsAUsageErrorWithSuggestions) {
  const Result result = shell(program() + " trian");
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_EQ(result.err.rfind("lacuna: error: unknown verb 'trian'; did you mean train? The verbs are: ", 0),
            0u)
      << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
}

TEST_F(Program, TrainWithoutItsProgramSaysWhatIsMissing) {
  const test::TempFolder folder;
  std::filesystem::copy_file(program(), folder / "lacuna");
  const Result alone = shell(folder / "lacuna" + " train --x");
  EXPECT_EQ(alone.exit_code, 64);
  EXPECT_NE(alone.err.find("'train' needs " + folder / "lacuna-train" + ", which is not there"),
            std::string::npos);
  // A stand-in that prints what it was given: same process id, same arguments, LACUNA_TORCH in front of the
  // path.
  write_file_atomic(folder / "lacuna-train",
                    "#!/bin/sh\necho \"$LD_LIBRARY_PATH\"; echo $$; printf '<%s>' \"$@\"; exit 80\n");
  std::filesystem::permissions(folder / "lacuna-train", std::filesystem::perms::owner_all);
  write_file_atomic(folder / "lacuna-train.torch", "/gone/torch\n");
  const Result gone = shell(folder / "lacuna" + " train");
  EXPECT_EQ(gone.exit_code, 64);
  EXPECT_NE(gone.err.find("no libtorch at /gone/torch, where it was when"), std::string::npos) << gone.err;
  std::filesystem::create_directories(folder / "torch/lib");
  write_file_atomic(folder / "torch/lib/libtorch_cpu.so", "");
  const Result run =
      shell("export LACUNA_TORCH=" + folder / "torch" + " LD_LIBRARY_PATH=/before; sh -c 'echo $$; exec " +
            folder / "lacuna" + " recipe drelu \"a b\" \"\"'");
  EXPECT_EQ(run.exit_code, 80);
  const std::string pid = run.out.substr(0, run.out.find('\n'));
  EXPECT_EQ(run.out, pid + "\n" + folder / "torch/lib:/before" + "\n" + pid + "\n<recipe><drelu><a b><>");
}

TEST(Dispatch, ExceptionsBecomeExitCodes) {
  using Arguments = std::vector<std::string>;
  EXPECT_EQ(run_guarded([](const Arguments&) { return 80; }, {}), 80);
  EXPECT_EQ(run_guarded([](const Arguments&) -> int { fail(ErrorKind::Numeric, "x"); }, {}), 81);
  EXPECT_EQ(run_guarded([](const Arguments&) -> int { throw std::bad_alloc(); }, {}), 69);
  EXPECT_EQ(run_guarded([](const Arguments&) -> int { throw std::runtime_error("x"); }, {}), 70);
  EXPECT_EQ(run_guarded([](const Arguments&) -> int { throw 3; }, {}), 70);
}

TEST(Output, OneObjectSchemaFirstRoundTripNumbers) {
  Json object = Json::object();
  object["x"] = 0.1 + 0.2;
  object["text"] = std::string("half \xe2\x82");
  object["bad"] = std::numeric_limits<double>::quiet_NaN();
  const std::string text = json_text(object, "lacuna.demo.1");
  EXPECT_EQ(
      text,
      "{\"schema\":\"lacuna.demo.1\",\"x\":0.30000000000000004,\"text\":\"half \xef\xbf\xbd\",\"bad\":null}");
  EXPECT_EQ(parse_json(text, "it")["x"].get<double>(), 0.1 + 0.2);
}

}  // namespace
}  // namespace lacuna
