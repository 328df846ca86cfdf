// Mistakes in a training's command line: one line, once, however many ranks there are, and nothing is made.
#include <filesystem>

#include "src/base/file.h"
#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

struct Mistake {
  const char* words;
  int exit_code;
  const char* message;  // part of the line
};

class Usage : public Training {
 protected:
  void expect(const std::string& words, int exit_code, const std::string& message) const {
    const Ended ended = lacuna(words);
    EXPECT_EQ(ended.exit_code, exit_code) << words;
    EXPECT_NE(ended.err.find(message), std::string::npos) << words << ": " << ended.err;
    EXPECT_EQ(lines(ended.err), 1) << words << ": " << ended.err;
    EXPECT_TRUE(ended.out.empty()) << ended.out;
  }
};

TEST_F(Usage, AllProblemsInOneLine) {
  expect(
      "train --ranks 4 --arch arch.ini --data tokens.h5 -o run --lr abc --pp two --bogus 3", 64,
      "train: unknown flag --bogus; --lr: 'abc' is not a number; --pp: 'two' is not a whole number (lacuna "
      "train --help)");
  expect("train -o run", 64, "--data is missing; give either --model");
  expect(
      "train --ranks 2 --arch arch.ini --data tokens.h5 -o run --lr-schedule square --global-batch 6 "
      "--micro-batch 4",
      64,
      "--lr-schedule is 'square', wanted one of constant, cosine, linear, wsd; --global-batch 6 is not a "
      "multiple of --micro-batch 4 x dp 2");
  EXPECT_FALSE(exists("run"));
}

TEST_F(Usage, EachMistakeIsNamedAndMakesNothing) {
  write_file_atomic(path("small.ini"),
                    "[model]\nvocab = 200\nhidden = 32\nffn = 64\nlayers = 4\nheads = 4\nkv-heads = 2\n"
                    "max-positions = 64\ntied-embeddings = yes\n");
  const Mistake mistakes[] = {
      {"--ranks 2 --arch arch.ini --data none.h5 --seq-len 16", 65, "none.h5: "},
      {"--arch arch.ini --data arch.ini --seq-len 16", 65, "arch.ini: "},
      {"--arch small.ini --data tokens.h5 --seq-len 16", 65,
       "tokens.h5 was tokenized with a vocabulary of 300, the model has 200"},
      {"--ranks 2 --arch arch.ini --data tokens.h5 --pp 3", 64,
       "--pp 3 x --tp 1 x --dp 1 makes 3 ranks, but 2 run (mpirun -n 3)"},
      {"--arch arch.ini --data tokens.h5 --pp 2", 64, "makes 2 ranks, but 1 runs (mpirun -n 2)"},
      {"--arch arch.ini --data tokens.h5 --pp 2000000000 --tp 2000000000", 64, "wanted at most 65536"},
      {"--arch arch.ini --data tokens.h5 --seq-len 100", 64, "longer than the model's context of 64"},
      {"--arch arch.ini --data tokens.h5 --seq-len 16 --cuts 3,9", 64, "2 numbers given for 1 stages"},
      {"--arch none.ini --data tokens.h5 --seq-len 16", 64, "none.ini"},
      {"-m none --data tokens.h5 --seq-len 16", 65, "none"},
  };
  for (const Mistake& mistake : mistakes) {
    expect(std::string("train -o run ") + mistake.words, mistake.exit_code, mistake.message);
    EXPECT_FALSE(exists("run")) << mistake.words;
  }
}

TEST_F(Usage, AFolderThatIsNoRunIsLeftAlone) {
  std::filesystem::create_directory(path("foreign"));
  write_file_atomic(path("foreign/letter"), "dear");
  for (const char* force : {"--force", "--ranks 2"})
    expect(train_words("foreign", force), 64, "--out foreign exists and is no run: choose another folder");
  EXPECT_EQ(read_file(path("foreign/letter"), 10), "dear");
  EXPECT_FALSE(exists("foreign/run.lock"));
  expect(train_words("text.txt", ""), 64, "--out text.txt is a file, wanted a folder");
  std::filesystem::create_directory(path("empty"));
  EXPECT_EQ(train("empty", "--steps 1")["steps"], 1);
}

TEST_F(Usage, AnOldRunIsReplacedOnlyWithForce) {
  const Json old = train("run", "--steps 2");
  expect(train_words("run", "--resume never"), 64, "--out run holds checkpoints and --resume is never");
  expect(train_words("run/step-000000002", "--force"), 64,
         "is one checkpoint of a run: give the run's folder");
  expect("recipe drelu -m run --data tokens.h5 -o run --force --seq-len 16", 64,
         "--force would delete --model run together with --out run");
  EXPECT_EQ(answer("inspect run")["content_hash"], old["content_hash"]);
  const Json fresh = train("run", "--steps 1 --seed 9 --force");
  EXPECT_EQ(fresh["first_step"], 0);
  EXPECT_FALSE(exists("run/step-000000002"));
  EXPECT_EQ(lacuna("verify run").exit_code, 0);
}

TEST_F(Usage, AnotherModelOrOtherTokensDoNotGoOnWithARun) {
  train("run", "--steps 1");
  ASSERT_EQ(lacuna("tokenize -m tokenizer --text tokenizer/tokenizer.json -o other.h5").exit_code, 0);
  expect("train --ranks 2 --arch arch.ini --data other.h5 --seq-len 16 --quiet -o run", 65,
         "run/step-000000001 was trained on other tokens than other.h5");
  write_file_atomic(
      path("wide.ini"),
      "[model]\nhidden = 32\nffn = 96\nlayers = 4\nheads = 4\nkv-heads = 2\nmax-positions = 64\n"
      "tied-embeddings = yes\n");
  expect("train --ranks 2 --arch wide.ini --data tokens.h5 --seq-len 16 --quiet -o run", 65,
         "run/step-000000001 holds another model than this run trains: give another --out, or --force");
  expect(train_words("run", "--ranks 2 --resume 7"), 65, "run/step-000000007: no such checkpoint");
  EXPECT_EQ(lacuna("verify run").exit_code, 0);
}

TEST_F(Usage, HelpNamesEveryFlagAndAnExample) {
  for (const char* verb : {"train", "recipe drelu"}) {
    const Ended ended = lacuna(std::string(verb) + " --help");
    EXPECT_EQ(ended.exit_code, 0);
    for (const char* word : {"--pp", "--global-batch", "--lr", "--save-every", "--resume", "lacuna "})
      EXPECT_NE(ended.out.find(word), std::string::npos) << verb << " " << word;
    EXPECT_TRUE(ended.err.empty());
  }
}

}  // namespace
}  // namespace lacuna::test
