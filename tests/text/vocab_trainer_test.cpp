#include "src/text/vocab_trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/json.h"
#include "src/text/bigram.h"
#include "src/text/stories.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

TokenizerFiles trained(std::string_view text, VocabOptions options) {
  VocabTrainer trainer(options);
  trainer.add(text);
  return trainer.train();
}

std::vector<std::string> merges_of(const TokenizerFiles& files) {
  return parse_json(files.at("tokenizer.json"), "new")["model"]["merges"].get<std::vector<std::string>>();
}

TEST(VocabTrainer, FrequentPairsFirstAndTiesByIds) {
  // l-o and o-w are equally frequent: the pair with the lower first id wins, and "l" comes before "o".
  const auto files =
      trained("low low low\nlow\nlow lower lower newest newest", {.size = 400, .split = "gpt2"});
  const auto merges = merges_of(files);
  ASSERT_GE(merges.size(), 3u);
  EXPECT_EQ(merges[0], "l o");
  EXPECT_EQ(merges[1], "lo w");
  EXPECT_EQ(merges[2], "Ġ low");
  const auto tokenizer = tokenizer_from_files(files, "new");
  EXPECT_EQ(tokenizer->encode(" low", true), (std::vector<std::int32_t>{0, tokenizer->id_of("Ġlow")}));
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_ids(), std::vector<std::int32_t>{1});
  EXPECT_EQ(tokenizer->id_of("!"), 2);  // bytes in the order of their characters
}

TEST(VocabTrainer, OverlappingPairs) {
  const auto merges = merges_of(trained("aaaa aaaa aaaa", {.size = 300, .split = "gpt2"}));
  // a-a 9 times, then aa-aa 3 times before the space joins.
  EXPECT_EQ(merges, (std::vector<std::string>{"a a", "aa aa", "Ġ aaaa"}));
}

// First merges and a digest over all of Hugging Face's BpeTrainer (tokenizers 0.23) on the same text.
TEST(VocabTrainer, EqualsHuggingFaceOnRealText) {
  const std::string text =
      read_file(test::data_folder() + "/tinystories/tinystories_train_head.txt", 2 << 20);
  const auto files = trained(text, {.size = 4096});
  const auto merges = merges_of(files);
  EXPECT_EQ(merges.size(), 4096u - 258);
  std::string all;
  for (const std::string& merge : merges) all += merge + "\n";
  EXPECT_EQ(sha256_hex(all.data(), all.size()),
            "ee758af1d18d25b99169d76b2dc31553f596e51c7a15f8abd8ab800c3c042a21");
}

TEST(VocabTrainer, OrderOfTextsDoesNotMatterAndSpecialTokensAreNotText) {
  VocabTrainer one({.size = 300}), two({.size = 300});
  one.add("some words here, some words there");
  one.add("<|end_of_text|>other words");
  two.add("other words<|begin_of_text|>");
  two.add("some words here, some words there");
  EXPECT_EQ(one.train(), two.train());
  for (const std::string& merge : merges_of(one.train()))
    EXPECT_EQ(merge.find("|"), std::string::npos) << merge;
}

TEST(VocabTrainer, AnyTextRoundTrips) {
  const auto tokenizer = tokenizer_from_files(trained("abc abc", {.size = 260}), "new");
  for (const std::string text : {"", " ", "naïve 日本語 🚀\r\n\t", "<|end_of_text|>x", "a  b"})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true), false), "<|begin_of_text|>" + text);
}

TEST(VocabTrainer, Refusals) {
  EXPECT_THROW(VocabTrainer({.size = 257}), Error);
  EXPECT_THROW(VocabTrainer({.split = "bert"}), Error);
  EXPECT_THROW(VocabTrainer({.size = 300}).train(), Error);
}

TEST(Stories, AreDeterministicAndDiffer) {
  EXPECT_EQ(story(1, 0), story(1, 0));
  EXPECT_NE(story(1, 0), story(1, 1));
  EXPECT_NE(story(1, 0), story(2, 0));
  const std::string text = stories(7, 100'000);
  EXPECT_GE(text.size(), 100'000u);
  EXPECT_EQ(text.substr(0, story(7, 0).size() + 2), story(7, 0) + "\n\n");
  for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
}

// What the end of a story says follows from its middle: who received a thing last has it.
TEST(Stories, EndsAgreeWithWhatHappened) {
  int checked = 0;
  for (std::uint64_t number = 0; number < 300; ++number) {
    const std::string text = story(3, number);
    const std::size_t end = text.find("At the end ");
    if (end == std::string::npos) continue;
    const std::size_t had = text.find(" had the ", end), stop = text.find('.', had);
    const std::string name = text.substr(end + 11, had - end - 11),
                      thing = text.substr(had + 9, stop - had - 9);
    const std::size_t gift = text.rfind(" gave the " + thing + " to ", end);
    const std::size_t after =
        gift == std::string::npos ? gift : text.find(" the " + thing, gift + thing.size() + 12);
    if (gift == std::string::npos || after < end) continue;  // not the last word about it
    EXPECT_EQ(text.substr(gift + 14 + thing.size(), name.size()), name) << text;
    ++checked;
  }
  EXPECT_GE(checked, 20);
}

TEST(Bigram, ProbabilitiesSumToOne) {
  const std::vector<std::int32_t> train = {0, 1, 2, 0, 1, 3, 0, 1, 2, 2, 4};
  const Bigram model(train, 6);
  for (std::int32_t before = 0; before < 6; ++before) {
    double sum = 0;
    for (std::int32_t token = 0; token < 6; ++token) sum += model.probability(before, token);
    EXPECT_NEAR(sum, 1.0, 1e-14) << before;
  }
  // c(0,1) = 3 of 3, one follower: (3 - 0.75)/3 + 0.75/3 · (3 + 1)/(11 + 6).
  EXPECT_DOUBLE_EQ(model.probability(0, 1), 2.25 / 3 + 0.25 * 4 / 17);
  EXPECT_DOUBLE_EQ(model.probability(5, 0), 4.0 / 17);  // never seen: unigrams
}

TEST(Bigram, ScoresWindowsAlone) {
  const std::vector<std::int32_t> train = {0, 1, 2, 0, 1, 3, 0, 1, 2, 2, 4}, held = {0, 1, 2, 2, 0, 1, 5};
  const Bigram model(train, 6);
  const BigramScore score = model.score(held, 3);  // (0 1 2)(2 0 1), the tail dropped
  EXPECT_EQ(score.windows, 2);
  EXPECT_EQ(score.predicted, 4);
  const double nll = -(std::log(model.probability(0, 1)) + std::log(model.probability(1, 2)) +
                       std::log(model.probability(2, 0)) + std::log(model.probability(0, 1))) /
                     4;
  EXPECT_NEAR(score.nll, nll, 1e-15);
  EXPECT_DOUBLE_EQ(score.ppl, std::exp(score.nll));
  EXPECT_THROW(model.score(held, 8), Error);
  EXPECT_THROW(model.score(held, 1), Error);
  EXPECT_THROW(Bigram(held, 5), Error);
}

}  // namespace
}  // namespace lacuna
