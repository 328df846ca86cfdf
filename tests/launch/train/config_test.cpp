// The resolved configuration of a run is a configuration: reading it back gives the same text.
#include <algorithm>
#include <filesystem>

#include "src/base/file.h"
#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

using Config = Training;

TEST_F(Config, OfARunReadsBackToItself) {
  const std::string data = "tok ens #1;\xc3\xa9\"q\" \\ .h5";  // a blank, comment signs, UTF-8, quotes
  std::filesystem::copy_file(path("tokens.h5"), path(data));
  const Ended first =
      lacuna("train --arch arch.ini --data " + quoted(data) +
             " --ranks 2 --pp 2 --cuts 3,1 --global-batch 4 --seq-len 16 --steps 2 --lr 0.1e-2 "
             "--eps 1e-9 --quiet -o run");
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const std::string ini = read_file(path("run/config.resolved.ini"), 1 << 16);
  EXPECT_NE(ini.find("cuts = 3,1\n"), std::string::npos) << ini;
  EXPECT_NE(ini.find("eps = 1e-09\n"), std::string::npos) << ini;
  EXPECT_NE(ini.find("\xc3\xa9"), std::string::npos) << ini;

  const std::string again = "train --config run/config.resolved.ini --arch arch.ini";
  const Ended dry = lacuna(again + " -o other --dry-run");
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_EQ(dry.out, ini);
  EXPECT_FALSE(exists("other"));
  EXPECT_EQ(lacuna(again + " -o other --dry-run --ranks 2").out, ini);  // one rank prints
  // And it drives a run to the same bytes.
  const Json result = answer(again + " -o other --ranks 2 --quiet");
  EXPECT_EQ(result["content_hash"], answer("inspect run")["content_hash"]);
  EXPECT_EQ(read_file(path("other/config.resolved.ini"), 1 << 16), ini);
}

TEST_F(Config, FlagsWinOverTheEnvironmentAndThatOverTheFile) {
  write_file_atomic(path("some.ini"), "[train]\nsteps = 5\nseed = 6\nseq-len = 7\n");
  const Ended dry = run("env LACUNA_TRAIN_SEED=16 LACUNA_TRAIN_SEQ_LEN=17 " + quoted(built("lacuna")) +
                            " train --config some.ini --seq-len 27 --arch arch.ini --data x -o y --dry-run",
                        path(""));
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  for (const char* line : {"\nsteps = 5\n", "\nseed = 16\n", "\nseq-len = 27\n"})
    EXPECT_NE(dry.out.find(line), std::string::npos) << line << dry.out;
}

TEST_F(Config, AWrongKeyIsNamedWithItsLine) {
  write_file_atomic(path("wrong.ini"), "[train]\nsteps = 5\nstep = 6\n[optim]\nlr = fast\n");
  const Ended ended = lacuna("train --config wrong.ini --arch arch.ini --data tokens.h5 -o run");
  EXPECT_EQ(ended.exit_code, 64);
  EXPECT_NE(
      ended.err.find("wrong.ini:3: train.step: unknown key; wrong.ini:5: optim.lr: 'fast' is not a number"),
      std::string::npos)
      << ended.err;
  EXPECT_EQ(lines(ended.err), 1);
}

}  // namespace
}  // namespace lacuna::test
