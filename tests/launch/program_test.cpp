// The program `lacuna` seen from outside: exit codes, one line on stderr, the hand-over; and run_guarded
// inside.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <stdexcept>

#include "launch/dispatch.h"
#include "launch/output.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/support/program.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

using test::Ended;

std::string program() {
  return test::built("lacuna");
}

// A line of shell, where the temporary files are.
Ended shell(const std::string& line) {
  return test::run("sh -c " + test::quoted(line), std::filesystem::temp_directory_path());
}

TEST(Program, VersionAndHelpGoToStdout) {
  const Ended version = shell(program() + " --version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out.rfind("lacuna ", 0), 0u);
  const Ended help = shell(program() + " --help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("usage: lacuna VERB"), std::string::npos);
  EXPECT_TRUE(help.err.empty());
  const Ended nothing = shell(program());
  EXPECT_EQ(nothing.exit_code, 64);
  EXPECT_TRUE(nothing.out.empty());
  EXPECT_FALSE(nothing.err.empty());
}

TEST(Program, AnUnknownVerbIsAUsageErrorWithSuggestions) {
  const Ended result = shell(program() + " trian");
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_EQ(result.err.rfind("lacuna: error: unknown verb 'trian'; did you mean train? The verbs are: ", 0),
            0u)
      << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
}

TEST(Program, TrainWithoutItsProgramSaysWhatIsMissing) {
  const test::TempFolder folder;
  std::filesystem::copy_file(program(), folder / "lacuna");
  const Ended alone = shell(folder / "lacuna" + " train --x");
  EXPECT_EQ(alone.exit_code, 64);
  EXPECT_NE(alone.err.find("'train' needs " + folder / "lacuna-train" + ", which is not there"),
            std::string::npos);
  // A stand-in that prints what it was given: same process id, same arguments, LACUNA_TORCH in front of the
  // path.
  write_file_atomic(folder / "lacuna-train",
                    "#!/bin/sh\necho \"$LD_LIBRARY_PATH\"; echo $$; printf '<%s>' \"$@\"; exit 80\n");
  std::filesystem::permissions(folder / "lacuna-train", std::filesystem::perms::owner_all);
  write_file_atomic(folder / "lacuna-train.torch", "/gone/torch\n");
  const Ended gone = shell(folder / "lacuna" + " train");
  EXPECT_EQ(gone.exit_code, 64);
  EXPECT_NE(gone.err.find("no libtorch at /gone/torch, where it was when"), std::string::npos) << gone.err;
  std::filesystem::create_directories(folder / "torch/lib");
  write_file_atomic(folder / "torch/lib/libtorch_cpu.so", "");
  const Ended run =
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
