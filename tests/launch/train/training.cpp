#include "tests/launch/train/training.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "src/base/file.h"

namespace lacuna::test {

namespace {

namespace fs = std::filesystem;

std::unique_ptr<TempFolder> made_once;

Json one_line(const Ended& ended) {
  EXPECT_EQ(lines(ended.out), 1) << "stdout: " << ended.out << "stderr: " << ended.err;
  return parse_json(ended.out, "stdout");
}

}  // namespace

long lines(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

void Training::SetUpTestSuite() {
  if (made_once) return;
  made_once = std::make_unique<TempFolder>();
  write_file_atomic(
      *made_once / "arch.ini",
      "[model]\nhidden = 32\nffn = 64\nlayers = 4\nheads = 4\nkv-heads = 2\nmax-positions = 64\n"
      "tied-embeddings = yes\n");
  for (const char* words : {"stories --bytes 60000 --seed 3 -o text.txt",
                            "tokenize --train-vocab 300 --text text.txt -o tokenizer",
                            "tokenize -m tokenizer --text text.txt -o tokens.h5"}) {
    const Ended ended = run(quoted(built("lacuna")) + " " + words, made_once->path());
    ASSERT_EQ(ended.exit_code, 0) << ended.err;
  }
}

void Training::TearDownTestSuite() {
  made_once.reset();
}

void Training::SetUp() {
  for (const char* name : {"arch.ini", "text.txt", "tokenizer", "tokens.h5"})
    fs::create_symlink(*made_once / name, path(name));
}

Ended Training::lacuna(const std::string& words) const {
  return run(quoted(built("lacuna")) + " " + words, folder_.path());
}

bool Training::exists(const std::string& name) const {
  return fs::exists(path(name));
}

std::string Training::train_words(const std::string& out, const std::string& more) {
  return "train --arch arch.ini --data tokens.h5 --global-batch 4 --seq-len 16 --quiet -o " + out + " " +
         more;
}

Json Training::train(const std::string& out, const std::string& more, int code) const {
  const Ended ended = lacuna(train_words(out, "--json " + more));
  EXPECT_EQ(ended.exit_code, code) << ended.err;
  return one_line(ended);
}

Json Training::answer(const std::string& words) const {
  const Ended ended = lacuna(words + " --json");
  EXPECT_EQ(ended.exit_code, 0) << words << ": " << ended.err;
  return one_line(ended);
}

Json Training::status(const std::string& run) const {
  return parse_json(read_file(path(run + "/status.json"), 1 << 20), run);
}

void Training::damage(const std::string& file, double at) const {
  std::string bytes = read_file(path(file), std::size_t{1} << 28);
  char& byte = bytes.at(static_cast<std::size_t>(at * static_cast<double>(bytes.size())));
  byte = static_cast<char>(~byte);
  write_file_atomic(path(file), bytes);
}

}  // namespace lacuna::test
