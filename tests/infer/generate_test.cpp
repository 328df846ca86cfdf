// generate on real models: text, finish reasons, stop texts, streaming.
#include "src/infer/generate.h"

#include <gtest/gtest.h>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

class Stories : public testing::Test {
 protected:
  std::string folder_ = test::data_folder() + "/models/stories656k";
  std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(folder_);
  Generation run(const GenerateOptions& options, const EngineOptions& engine_options = {1}) {
    const std::unique_ptr<Engine> engine = Engine::load(folder_, engine_options);
    const std::vector<std::int32_t> prompt = tokenizer_->encode("Once upon a time", true);
    streamed_.clear();
    return generate(*engine, *tokenizer_, prompt, options, [&](std::string_view text) { streamed_ += text; });
  }
  std::string streamed_;
};

TEST_F(Stories, StopsAtLengthAndStreamsTheText) {
  GenerateOptions options;
  options.max_tokens = 40;
  const Generation made = run(options);
  EXPECT_EQ(made.ids.size(), 40u);
  EXPECT_EQ(made.finish, "length");
  EXPECT_EQ(made.text, streamed_);
  EXPECT_NE(made.text.find("little girl named Lily"), std::string::npos) << made.text;
  EXPECT_EQ(made.decode_steps, 39);
  EXPECT_GT(made.tokens_per_second(), 0);
  options.max_tokens = 0;
  const Generation none = run(options);
  EXPECT_TRUE(none.ids.empty() && none.text.empty());
  EXPECT_EQ(none.finish, "length");
}

TEST_F(Stories, StopTextEndsAndIsNotPartOfTheText) {
  GenerateOptions options;
  options.max_tokens = 60;
  const std::string all = run(options).text;
  const std::size_t at = all.find("small house");
  ASSERT_NE(at, std::string::npos);
  options.stop = {"never seen", "small house"};
  const Generation cut = run(options);
  EXPECT_EQ(cut.finish, "stop");
  EXPECT_EQ(cut.text, all.substr(0, at));
  EXPECT_EQ(streamed_, cut.text);
  options.stop = {""};
  EXPECT_THROW(run(options), Error);
}

TEST_F(Stories, EndOfTextEndsUnlessIgnored) {
  GenerateOptions options;
  options.max_tokens = 500;
  const Generation made = run(options);
  if (made.finish == "eos") {
    EXPECT_EQ(made.ids.back(), 2);
    options.ignore_eos = true;
    options.max_tokens = static_cast<std::int64_t>(made.ids.size()) + 5;
    const Generation longer = run(options);
    EXPECT_EQ(longer.ids.size(), made.ids.size() + 5);
    EXPECT_EQ(longer.finish, "length");
  } else {
    EXPECT_EQ(made.finish, "length");
  }
}

TEST_F(Stories, ContextEndsWhenItIsFull) {
  GenerateOptions options;
  options.max_tokens = 500;
  options.ignore_eos = true;
  const Generation made = run(options, {1, "auto", 20});
  EXPECT_EQ(made.finish, "context");
  const std::size_t prompt = tokenizer_->encode("Once upon a time", true).size();
  EXPECT_EQ(made.ids.size(), 20 - prompt + 1);  // the last one is drawn, but has no place to be run
  EXPECT_THROW(run(options, {1, "auto", static_cast<std::int64_t>(prompt) - 1}), Error);
}

TEST_F(Stories, SeedRepeatsADrawnText) {
  GenerateOptions options;
  options.max_tokens = 30;
  options.sampler.temperature = 1;
  options.sampler.seed = 3;
  const Generation first = run(options), again = run(options, {2});
  EXPECT_EQ(first.ids, again.ids);
  options.sampler.seed = 4;
  EXPECT_NE(first.ids, run(options).ids);
}

TEST(Generate, Books17mTextAsInItsGoldenFile) {
  const std::string folder = test::data_folder() + "/models/books17m";
  const Json golden = parse_json(read_file(folder + "/golden.json", 1 << 20), "golden");
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(folder);
  const std::unique_ptr<Engine> engine = Engine::load(folder, {});
  for (const Json& prompt : golden["prompts"]) {
    const auto text = prompt["prompt"].get<std::string>();
    const std::vector<std::int32_t> ids = tokenizer->encode(text, true);
    EXPECT_EQ(ids, prompt["ids"].get<std::vector<std::int32_t>>());
    GenerateOptions options;
    options.max_tokens = 24;
    options.ignore_eos = true;
    const Generation made = generate(*engine, *tokenizer, ids, options);
    const auto want = prompt["greedy_text"].get<std::string>();
    EXPECT_EQ(text + made.text, want.substr(0, text.size() + made.text.size()));
  }
  EXPECT_THROW(generate(*engine, *tokenizer, {}, {}), Error);
}

}  // namespace
}  // namespace lacuna
