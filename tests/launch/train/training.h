// A folder with a small model's shape, a tokenizer and tokens, and the training programs run in it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "src/base/json.h"
#include "tests/support/program.h"
#include "tests/support/test_data.h"

namespace lacuna::test {

// arch.ini, text.txt, tokenizer/ and tokens.h5 are made once and linked into each test's own folder.
class Training : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;

  // "lacuna WORDS" in the test's folder.
  Ended lacuna(const std::string& words) const;
  std::string path(const std::string& name) const { return folder_ / name; }
  bool exists(const std::string& name) const;
  // The words of a training into `out`, without steps and learning rate.
  static std::string train_words(const std::string& out, const std::string& more);
  // Runs it and reads the one line that --json prints. Fails the test unless the exit code is `code`.
  Json train(const std::string& out, const std::string& more, int code = 0) const;
  // What `lacuna WORDS --json` prints.
  Json answer(const std::string& words) const;
  // status.json of a run.
  Json status(const std::string& run) const;
  // Inverts one byte of a file, at this part of its length.
  void damage(const std::string& file, double at = 0.5) const;

 private:
  TempFolder folder_;
};

// Lines of stderr. A usage error has one.
long lines(const std::string& text);

}  // namespace lacuna::test
