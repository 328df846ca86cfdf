// stories, tokenize and encode as a user calls them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "launch/verb.h"
#include "launch/verbs/open_tokenizer.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/data/token_file.h"
#include "src/text/stories.h"
#include "tests/support/test_data.h"

namespace lacuna {

extern const Verb encode_verb, stories_verb, tokenize_verb;

namespace {

using Ids = std::vector<std::int32_t>;

class TextVerbs : public testing::Test {
 protected:
  void SetUp() override { set_log_quiet(true); }
  void TearDown() override { set_log_quiet(false); }

  static Json json_of(const Verb& verb, std::vector<std::string> arguments) {
    arguments.push_back("--json");
    testing::internal::CaptureStdout();
    int code = -1;
    try {
      code = verb.run(arguments);
    } catch (...) {
      testing::internal::GetCapturedStdout();
      throw;
    }
    const std::string out = testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, 0);
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
    return parse_json(out, verb.name);
  }
  Ids encoded(const std::string& model, const std::string& text, std::vector<std::string> more = {}) {
    std::ofstream(folder_ / "input", std::ios::binary) << text;
    const int kept = dup(STDIN_FILENO), input = open((folder_ / "input").c_str(), O_RDONLY);
    dup2(input, STDIN_FILENO);
    close(input);
    more.insert(more.end(), {"-m", model});
    const Json out = json_of(encode_verb, more);
    dup2(kept, STDIN_FILENO);
    close(kept);
    return out["ids"].get<Ids>();
  }
  std::string usage_error(const Verb& verb, const std::vector<std::string>& arguments) {
    try {
      verb.run(arguments);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage) << error.what();
      return error.what();
    }
    return "(no error)";
  }
  test::TempFolder folder_;
};

TEST_F(TextVerbs, FromStoriesToTokens) {
  const std::string text = folder_ / "train.txt", tok = folder_ / "tok", tokens = folder_ / "tokens.h5";
  EXPECT_EQ(json_of(stories_verb, {"--bytes", "60000", "--seed", "5", "-o", text})["schema"],
            "lacuna.stories/1");
  EXPECT_EQ(read_file(text, 1 << 20), stories(5, 60000));
  const Json vocabulary = json_of(tokenize_verb, {"--train-vocab", "600", "--text", text, "-o", tok});
  EXPECT_EQ(vocabulary["vocab_size"], 600);
  const Json made = json_of(tokenize_verb, {"-m", tok, "--text", text, "-o", tokens});
  const TokenFile file(tokens);
  EXPECT_EQ(made["tokens"], file.tokens());
  EXPECT_EQ(file.documents(), 1);
  // A whole file is one string: the same ids as encode gives, and the file alone brings its tokenizer.
  Ids ids(static_cast<std::size_t>(file.tokens()));
  file.read(0, file.tokens(), ids.data());
  EXPECT_EQ(ids, encoded(tok, read_file(text, 1 << 20)));
  EXPECT_EQ(encoded(tokens, "Once upon a time", {"--special"}),
            encoded(tok, "Once upon a time", {"--special"}));
  EXPECT_EQ(open_tokenizer(tokens)->sha256(), file.meta().tokenizer_sha256);
  EXPECT_EQ(open_tokenizer(tokens)->decode(ids), read_file(text, 1 << 20));
}

TEST_F(TextVerbs, DocumentsEndWithTheEndOfTextToken) {
  const std::string tok = test::data_folder() + "/models/books17m";
  std::ofstream(folder_ / "a.txt") << "\n\nOne.\n\n\n\nTwo\nlines.\n\n";
  std::ofstream(folder_ / "b.txt") << "Three.<|end_of_text|>Four.";
  const Json made =
      json_of(tokenize_verb, {"-m", tok, "--text", folder_ / "a.txt", folder_ / "b.txt", "--documents",
                              "blank-lines", "--special", "-o", folder_ / "t.h5"});
  EXPECT_EQ(made["documents"], 3);
  const TokenFile file(folder_ / "t.h5");
  const auto tokenizer = open_tokenizer(tok);
  Ids want;
  for (const char* text : {"One.", "Two\nlines.", "Three.<|end_of_text|>Four."}) {
    const Ids ids = tokenizer->encode(text, true);
    want.insert(want.end(), ids.begin(), ids.end());
    want.push_back(1);
  }
  Ids ids(static_cast<std::size_t>(file.tokens()));
  file.read(0, file.tokens(), ids.data());
  EXPECT_EQ(ids, want);
  // As one string, a document ends behind every end-of-text token.
  json_of(tokenize_verb, {"-m", tok, "--text", folder_ / "b.txt", "-o", folder_ / "w.h5"});
  EXPECT_EQ(TokenFile(folder_ / "w.h5").documents(), 2);
}

TEST_F(TextVerbs, EncodeKeepsEveryByteOfItsInput) {
  const std::string story = test::data_folder() + "/models/stories656k";
  EXPECT_EQ(encoded(story, "Once upon a time\n"), open_tokenizer(story)->encode("Once upon a time\n", false));
  EXPECT_EQ(encoded(story, "", {"--special"}), Ids{1});
  EXPECT_EQ(encoded(story, ""), Ids{});
  const std::string odd("a\0b\r\n\xff", 6);
  EXPECT_EQ(encoded(test::data_folder() + "/models/books17m", odd),
            open_tokenizer(test::data_folder() + "/models/books17m")->encode(odd, false));
  // llama2.c: the model's own file finds the tokenizer beside it.
  EXPECT_EQ(
      encoded(test::data_folder() + "/models/stories260k/stories260K.bin", "Once", {"--special"}).front(), 1);
}

TEST_F(TextVerbs, UsageErrors) {
  const auto says = [&](const Verb& verb, const std::vector<std::string>& arguments,
                        const std::string& part) {
    const std::string message = usage_error(verb, arguments);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says(tokenize_verb, {}, "text");
  says(tokenize_verb, {"--text", "a", "-o", folder_ / "x"}, "-m MODEL is missing");
  says(tokenize_verb, {"-m", "tok", "--train-vocab", "600", "--text", "a", "-o", folder_ / "x"},
       "a new vocabulary needs no model");
  says(tokenize_verb, {"-m", "tok", "--text", "a", "-o", folder_.path()}, "exists already");
  says(tokenize_verb, {"-m", "tok", "--text", "a", "-o", folder_ / "x", "--documents", "lines"},
       "wanted whole or");
  says(tokenize_verb, {"--train-vocab", "100", "--text", "a", "-o", folder_ / "x"}, "wanted 258");
  says(stories_verb, {"--bytes", "0"}, "--bytes 0");
  says(stories_verb, {"--separator", "tab"}, "wanted blank or end-of-text");
  says(stories_verb, {"--json"}, "--json needs -o");
  says(encode_verb, {}, "model");
  // A failure leaves no file behind.
  EXPECT_THROW(tokenize_verb.run({"-m", test::data_folder() + "/models/books17m", "--text",
                                  folder_ / "absent", "-o", folder_ / "x.h5"}),
               Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace lacuna
