#include "src/text/unicode.h"

#include <gtest/gtest.h>

#include "src/text/utf8.h"

namespace lacuna {
namespace {

TEST(Utf8, EveryCodePointRoundTrips) {
  std::string all;
  for (char32_t code = 0; code < 0x110000; code += code < 0x3000 ? 1 : 97)
    if (code < 0xd800 || code > 0xdfff) append_utf8(all, code);
  EXPECT_TRUE(is_utf8(all));
  std::size_t at = 0;
  for (char32_t code = 0; code < 0x110000; code += code < 0x3000 ? 1 : 97) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    EXPECT_EQ(previous_code_point(all, at + utf8_length(all[at])), at);
    ASSERT_EQ(next_code_point(all, at), code);
  }
  EXPECT_EQ(at, all.size());
}

TEST(Utf8, EachMaximalIllFormedPartIsOneReplacement) {
  // Unicode 3.9, table 3-8 and its neighbours.
  const std::string r(replacement_character);
  EXPECT_EQ(to_valid_utf8("a\xf1\x80\x80\xe1\x80\xc2"
                          "b\x80"
                          "c\x80\xbf"
                          "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(to_valid_utf8("\xc0\xaf"), r + r);                  // overlong
  EXPECT_EQ(to_valid_utf8("\xe0\x80\xaf"), r + r + r);          // overlong
  EXPECT_EQ(to_valid_utf8("\xed\xa0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(to_valid_utf8("\xf4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(to_valid_utf8("\xff"), r);
  EXPECT_EQ(to_valid_utf8("ab\xe2\x82"), "ab" + r);  // cut
  EXPECT_EQ(to_valid_utf8("naïve"), "naïve");
  EXPECT_EQ(utf8_step("\xe2\x82", 0).state, Utf8State::Truncated);
  EXPECT_EQ(utf8_step("\xe2(", 0).state, Utf8State::Invalid);
}

TEST(Category, Samples) {
  const std::pair<char32_t, Category> samples[] = {
      {'A', Category::Lu},    {'a', Category::Ll},      {0x1c5, Category::Lt},   {0x2b0, Category::Lm},
      {0x4e2d, Category::Lo}, {0x301, Category::Mn},    {0x903, Category::Mc},   {0x20dd, Category::Me},
      {'7', Category::Nd},    {0x2167, Category::Nl},   {0xbd, Category::No},    {'_', Category::Pc},
      {'-', Category::Pd},    {'(', Category::Ps},      {')', Category::Pe},     {0xab, Category::Pi},
      {0xbb, Category::Pf},   {'!', Category::Po},      {'+', Category::Sm},     {'$', Category::Sc},
      {'^', Category::Sk},    {0xa9, Category::So},     {' ', Category::Zs},     {0x2028, Category::Zl},
      {0x2029, Category::Zp}, {'\n', Category::Cc},     {0xad, Category::Cf},    {0xd800, Category::Cs},
      {0xe000, Category::Co}, {0x10ffff, Category::Cn}, {0x1f680, Category::So}, {0xac00, Category::Lo},
      {0x1c89, Category::Lu}, {0x378, Category::Cn}};
  for (const auto& [code, category] : samples)
    EXPECT_EQ(category_of(code), category) << std::hex << static_cast<int>(code);
}

TEST(Category, CountsOfUnicode16) {
  std::vector<int> count(category_count);
  for (char32_t code = 0; code < 0x110000; ++code) ++count[static_cast<std::size_t>(category_of(code))];
  EXPECT_EQ(count[static_cast<std::size_t>(Category::Lu)], 1858);
  EXPECT_EQ(count[static_cast<std::size_t>(Category::Nd)], 760);
  EXPECT_EQ(count[static_cast<std::size_t>(Category::Zs)], 17);
  EXPECT_EQ(count[static_cast<std::size_t>(Category::Cs)], 2048);
  EXPECT_EQ(category_mask("L"), 0b11111u);
  EXPECT_EQ(category_mask("Nd"), 1u << static_cast<int>(Category::Nd));
  EXPECT_EQ(category_mask("Q"), 0u);
  EXPECT_EQ(category_mask(""), 0u);
}

TEST(Properties, WhiteSpaceAndWords) {
  int spaces = 0;
  for (char32_t code = 0; code < 0x110000; ++code) spaces += is_white_space(code);
  EXPECT_EQ(spaces, 25);
  for (const char32_t code : {U' ', U'\u0085', U'\u00a0', U'\u3000', U'\u2029'})
    EXPECT_TRUE(is_white_space(code));
  for (const char32_t code : {U'\u200b', U'\ufeff', U'_'}) EXPECT_FALSE(is_white_space(code));
  for (const char32_t code : {U'_', U'9', U'é', U'\u0301', U'\u200d', U'\u24b6', U'Ⅷ'})
    EXPECT_TRUE(is_word(code));
  for (const char32_t code : {U'-', U' ', U'½', U'<'}) EXPECT_FALSE(is_word(code));
}

TEST(ComposeNfc, Samples) {
  const std::pair<const char*, const char*> samples[] = {
      {"", ""},
      {"plain ASCII text", "plain ASCII text"},
      {"e\u0301", "é"},
      {"e\u0301e", "ée"},
      {"\u0301e", "\u0301e"},
      {"a\u0323\u0307", "ạ\u0307"},  // composes with the nearer mark
      {"a\u0307\u0323", "ạ\u0307"},  // marks are ordered by class first
      {"o\u0308\u0304", "\u022b"},   // composes twice
      {"a\u0301\u0301", "á\u0301"},  // the second is blocked
      {"\u212b", "Å"},               // a singleton
      {"\u2126\u0301", "\u038f"},
      {"\u0958", "\u0915\u093c"},    // excluded from composition
      {"\u1100\u1161\u11a8", "각"},  // Hangul by arithmetic
      {"가\u11a8", "각"},
      {"각\u11a8", "각\u11a8"},
      {"\u0344", "\u0308\u0301"},
      {"日本語", "日本語"},
      {"x\u0345\u0301", "x\u0301\u0345"},
      {"\ufb1d", "\u05d9\u05b4"},
      {"\U0001d15e", "\U0001d157\U0001d165"}};
  for (const auto& [text, want] : samples) EXPECT_EQ(compose_nfc(text), want) << text;
}

TEST(ComposeNfc, IsIdempotent) {
  std::string text;
  for (char32_t code = 0xa0; code < 0x30000; code += 7)
    if (code < 0xd800 || code > 0xdfff) append_utf8(text, code);
  const std::string once = compose_nfc(text);
  EXPECT_EQ(compose_nfc(once), once);
}

}  // namespace
}  // namespace lacuna
