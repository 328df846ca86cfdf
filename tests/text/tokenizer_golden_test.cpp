// Real tokenizers against ids that Hugging Face's and llama.cpp's implementations gave.
#include <gtest/gtest.h>

#include <sstream>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/tokenizer.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

using Ids = std::vector<std::int32_t>;

std::string data(const std::string& name) {
  return test::data_folder() + "/" + name;
}

std::unique_ptr<Tokenizer> load(const std::string& name) {
  return load_tokenizer(data(name));
}

Json golden(const std::string& name) {
  return parse_json(read_file(data(name), 1 << 20), name);
}

TEST(StoryTokenizer, GoldenIdsWithoutTheDummyPrefix) {
  const auto tokenizer = load("models/stories656k");
  const Json want = golden("models/stories656k/golden.json");
  const std::string text = want["text"];
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true)), text);
  // The golden run left out the token of the prefix character: the same tokenizer without its Prepend step.
  TokenizerFiles files = tokenizer->files();
  Json root = parse_json(files["tokenizer.json"], "story tokenizer");
  root["normalizer"]["normalizers"].erase(0);
  files["tokenizer.json"] = root.dump();
  EXPECT_EQ(tokenizer_from_files(files, "story tokenizer")->encode(text, true), want["token_ids"].get<Ids>());
}

TEST(StoryTokenizer, SpecialTokensAndUnknownCharacters) {
  const auto tokenizer = load("models/stories656k");
  EXPECT_EQ(tokenizer->vocab_size(), 2048);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_ids(), Ids{2});
  EXPECT_EQ(tokenizer->encode("", true), Ids{1});
  EXPECT_EQ(tokenizer->encode("", false), Ids{});
  // No byte tokens: a run of unknown characters is one <unk>.
  const Ids ids = tokenizer->encode("日本語", false);
  EXPECT_EQ(ids, (Ids{tokenizer->id_of("▁"), 0}));
}

TEST(BooksTokenizer, GoldenPrompts) {
  const auto tokenizer = load("models/books17m");
  const Json want = golden("models/books17m/golden.json");
  ASSERT_GT(want["prompts"].size(), 2u);
  for (const Json& prompt : want["prompts"]) {
    const std::string text = prompt["prompt"];
    EXPECT_EQ(tokenizer->encode(text, true), prompt["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer->decode(prompt["ids"].get<Ids>()), text);
  }
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_ids(), Ids{1});
  EXPECT_EQ(tokenizer->encode("<|end_of_text|>", false), Ids{1});
}

// llama.cpp's 47 strings, each with the ids of the tokenizer's own library.
void expect_vectors(const Tokenizer& tokenizer, const std::string& answers) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string texts = read_file(data("tokenizers/vectors/vectors.inp"), 1 << 20);
  const std::string lines = read_file(data("tokenizers/vectors/" + answers), 1 << 20);
  std::size_t at = 0, line = 0, count = 0;
  while (at <= texts.size() && line < lines.size()) {
    const std::size_t end = texts.find(separator, at);
    if (end == std::string::npos) break;
    const std::string text = texts.substr(at, end - at);
    const std::size_t line_end = lines.find('\n', line);
    Ids want;
    std::istringstream numbers(lines.substr(line, line_end - line));
    for (std::int32_t id = 0; numbers >> id;) want.push_back(id);
    EXPECT_EQ(tokenizer.encode(text, false), want) << "'" << text << "'";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false)), text);
    at = end + separator.size();
    line = line_end + 1;
    ++count;
  }
  EXPECT_GE(count, 46u);
}

TEST(Vectors, Gpt2) {
  expect_vectors(*load("tokenizers/gpt2"), "gpt-2.out");
}
TEST(Vectors, Qwen2) {
  expect_vectors(*load("tokenizers/qwen2"), "qwen2.out");
}
TEST(Vectors, Llama2SentencePiece) {
  expect_vectors(*load("tokenizers/llama2/tokenizer.model"), "llama-spm.out");
}

TEST(Llama2c, EqualsTheSentencePieceModel) {
  const auto model = load("tokenizers/llama2/tokenizer.model");
  const auto bin = load("tokenizers/llama2/tokenizer.bin");
  ASSERT_EQ(model->vocab_size(), bin->vocab_size());
  const std::string text =
      read_file(data("tinystories/tinystories_train_head.txt"), 2 << 20).substr(0, 200'000);
  EXPECT_EQ(model->encode(text, true), bin->encode(text, true));
  const std::string odd = "Ünïcödé 日本語 🚀\n\n\t  x  ";
  EXPECT_EQ(model->encode(odd, true), bin->encode(odd, true));
  EXPECT_EQ(bin->decode(bin->encode(odd, true)), odd);
}

TEST(Llama2c, SmallVocabulary) {
  const auto tokenizer = load("models/stories260k/tok512.bin");
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  const Json want = golden("models/stories260k/golden.json");
  const std::string text = want["text"];
  EXPECT_EQ(tokenizer->encode(text, true), want["token_ids"].get<Ids>());
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true)), text);
}

TEST(SentencePiece, UnigramModelsAreRefused) {
  try {
    load("tokenizers/spm-unigram-test/test_model.model");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput);
    EXPECT_NE(std::string(error.what()).find("unigram: only BPE is supported"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace lacuna
