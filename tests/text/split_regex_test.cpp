#include "src/text/split_regex.h"

#include <gtest/gtest.h>

#include "src/base/error.h"
#include "src/text/pipeline.h"

namespace lacuna {
namespace {

using Pieces = std::vector<std::string>;

Pieces cut(std::string_view pattern, std::string_view text, SplitBehavior behavior = SplitBehavior::Isolated,
           bool invert = false) {
  PreTokenizer cutter;
  cutter.add(SplitStep{SplitRegex(pattern), behavior, invert});
  Pieces out;
  cutter.cut(text, true, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

// All matches.
Pieces found(std::string_view pattern, std::string_view text) {
  const SplitRegex regex(pattern);
  std::uint64_t budget = SplitRegex::budget_for(text.size());
  Pieces out;
  std::size_t from = 0;
  while (const auto match = regex.find(text, from, budget)) {
    out.emplace_back(text.substr(match->first, match->second - match->first));
    from = match->second;
  }
  return out;
}

TEST(SplitRegex, Syntax) {
  EXPECT_EQ(found("a|ab", "abab"), (Pieces{"a", "a"}));  // the first alternative wins, not the longest
  EXPECT_EQ(found("(?:ab|a)b?", "abbab"), (Pieces{"abb", "ab"}));
  EXPECT_EQ(found("a{2,3}", "aaaaaaa"), (Pieces{"aaa", "aaa"}));
  EXPECT_EQ(found("a{2}", "aaaaa"), (Pieces{"aa", "aa"}));
  EXPECT_EQ(found("a{2,}", "a aaaa"), (Pieces{"aaaa"}));
  EXPECT_EQ(found("a{,2}b", "aaab"), (Pieces{"aab"}));
  EXPECT_EQ(found("x.y", "xéy x\ny"), (Pieces{"xéy"}));
  EXPECT_EQ(found("[^a-c]+", "abxyzc"), (Pieces{"xyz"}));
  EXPECT_EQ(found("[]a]+", "]a]b"), (Pieces{"]a]"}));
  EXPECT_EQ(found("[a\\-z]+", "a-zb"), (Pieces{"a-z"}));
  EXPECT_EQ(found("[a-]+", "a-b"), (Pieces{"a-"}));
  EXPECT_EQ(found("\\x41\\x{1F680}\\u00e9", "A🚀é"), (Pieces{"A🚀é"}));
  EXPECT_EQ(found("\\p{Lu}\\p{Ll}+", "Ab ÄÖü"), (Pieces{"Ab", "Öü"}));
  EXPECT_EQ(found("\\P{L}+", "a12b"), (Pieces{"12"}));
  EXPECT_EQ(found("\\p{^L}+", "a12b"), (Pieces{"12"}));
  EXPECT_EQ(found("[\\S&]+", "a& b"), (Pieces{"a&", "b"}));
  EXPECT_EQ(found("\\d+", "12½٣"), (Pieces{"12", "٣"}));
}

TEST(SplitRegex, QuantifierKinds) {
  EXPECT_EQ(found("a+?b?", "aab"), (Pieces{"a", "ab"}));
  EXPECT_EQ(found("<.+?>", "<a><b>"), (Pieces{"<a>", "<b>"}));
  EXPECT_EQ(found("<.+>", "<a><b>"), (Pieces{"<a><b>"}));
  EXPECT_EQ(found("a++a", "aaa"), Pieces{});  // possessive: nothing is given back
  EXPECT_EQ(found("a+a", "aaa"), (Pieces{"aaa"}));
  EXPECT_EQ(found("(?>ab|a)b", "ab abb"), (Pieces{"abb"}));
  EXPECT_EQ(found("(?:ab)?+ab", "ab abab"), (Pieces{"abab"}));
  EXPECT_EQ(found("(?:ab){1,2}c", "ababababc"), (Pieces{"ababc"}));
  EXPECT_EQ(found("(?:éa)+", "éaéaé"), (Pieces{"éaéa"}));
}

TEST(SplitRegex, LookAheadAndCase) {
  EXPECT_EQ(found("\\s+(?!\\S)", "a  b  "), (Pieces{" ", "  "}));
  EXPECT_EQ(found("a(?=b)", "ab ac"), (Pieces{"a"}));
  EXPECT_EQ(found("(?i:'s|'LL)", "'S 'ſ 'll 'Ll"), (Pieces{"'S", "'ſ", "'ll", "'Ll"}));
  EXPECT_EQ(found("(?i)ab|cd", "AB Cd"), (Pieces{"AB", "Cd"}));
  EXPECT_EQ(found("(?i:a(?-i:b))", "Ab AB"), (Pieces{"Ab"}));
  EXPECT_EQ(found("(?i:[a-c]+)d", "aBCd ABCD"), (Pieces{"aBCd"}));
}

TEST(SplitRegex, TheKnownPatterns) {
  EXPECT_EQ(cut(gpt2_pattern, "I'll pay  123.45!!\n\n ok'S"),
            (Pieces{"I", "'ll", " pay", " ", " 123", ".", "45", "!!", "\n\n", " ok", "'", "S"}));
  EXPECT_EQ(cut(llama3_pattern, "I'LL pay  12345!!\n\n ok"),
            (Pieces{"I", "'LL", " pay", " ", " ", "123", "45", "!!\n\n", " ok"}));
  EXPECT_EQ(cut(llama3_pattern, "a \n b\t\tc"), (Pieces{"a", " \n", " b", "\t", "\tc"}));
}

TEST(SplitRegex, LongRunsAreLinearInTimeAndNotRecursive) {
  const std::string spaces(2'000'000, ' '), letters(2'000'000, 'x');
  EXPECT_EQ(cut(llama3_pattern, spaces + "x").size(), 2u);
  EXPECT_EQ(cut(llama3_pattern, letters).size(), 1u);
  EXPECT_EQ(found("(?:ab)+",
                  [] {
                    std::string text;
                    for (int i = 0; i < 200'000; ++i) text += "ab";
                    return text;
                  }())
                .size(),
            1u);
}

TEST(SplitBehaviors, AsHuggingFaceDefinesThem) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(cut("-", text, SplitBehavior::Removed), (Pieces{"the", "final", "countdown"}));
  EXPECT_EQ(cut("-", text, SplitBehavior::Isolated), (Pieces{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(cut("-", text, SplitBehavior::MergedWithPrevious), (Pieces{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(cut("-", text, SplitBehavior::MergedWithNext), (Pieces{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(cut("-", text, SplitBehavior::Contiguous), (Pieces{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(cut("[a-z]+", text, SplitBehavior::Removed, true), (Pieces{"the", "final", "countdown"}));
}

}  // namespace
}  // namespace lacuna
