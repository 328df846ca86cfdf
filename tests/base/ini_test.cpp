// Every field type through to_ini and read_ini: nothing may change a value on its way.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "src/base/fields.h"

namespace lacuna {
namespace {

struct Everything {
  bool on = false;
  int small = 0;
  std::int64_t wide = 0;
  std::uint64_t unsigned_wide = 0;
  double number = 0;
  std::string text;
  std::vector<std::string> words;
  std::vector<std::int64_t> counts;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("one.on", on, "a switch");
    field("one.small", small, "");
    field("one.wide", wide, "help with # and ; in it");
    field("one.unsigned-wide", unsigned_wide, "");
    field("two.number", number, "");
    field("two.text", text, "");
    field("two.words", words, "");
    field("two.counts", counts, "");
  }
};

Everything through_ini(Everything value, bool with_help) {
  const std::string ini = to_ini(fields_of(value), with_help);
  Everything out;
  auto fields = fields_of(out);
  const auto entries = read_ini(ini, "test");
  EXPECT_EQ(entries.size(), fields.size()) << ini;
  for (std::size_t i = 0; i < entries.size() && i < fields.size(); ++i) {
    EXPECT_EQ(entries[i].name, fields[i].name);
    fields[i].set(entries[i].value);
  }
  return out;
}

std::string error_of(const std::string& ini) {
  try {
    read_ini(ini, "file.ini");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    return error.what();
  }
  return "no error";
}

TEST(Ini, TextsComeBackAsTheyWere) {
  const std::vector<std::string> texts = {"",
                                          " ",
                                          "  two leading",
                                          "trailing ",
                                          "\ttab\t",
                                          "a # b",
                                          "a#b",
                                          "#",
                                          "; not a comment",
                                          "a;b",
                                          "say \"so\"",
                                          "\"",
                                          "\"quoted\"",
                                          "back\\slash",
                                          "\\",
                                          "\\n",
                                          "line\nbreak",
                                          "\n",
                                          "\r\n",
                                          "carriage\rreturn",
                                          "über Größe",
                                          "日本語",
                                          "\xf0\x9f\x99\x82",
                                          "[section]",
                                          "key = value",
                                          "=",
                                          "a,b",
                                          ",",
                                          "\\,",
                                          "'single'",
                                          std::string("nul\0nul", 7),
                                          "\x01\x1f\x7f",
                                          "not utf-8 \xff\xfe",
                                          "\xef\xbb\xbf"
                                          "bom",
                                          std::string(100000, 'x')};
  for (const std::string& text : texts) {
    for (const bool with_help : {false, true}) {
      Everything value;
      value.text = text;
      value.words = {text, "", text};
      const Everything back = through_ini(value, with_help);
      EXPECT_EQ(back.text, text);
      EXPECT_EQ(back.words, value.words);
      value.words = {text};
      EXPECT_EQ(through_ini(value, with_help).words, value.words);
    }
  }
}

TEST(Ini, ListsDistinguishNothingFromOneEmptyText) {
  const std::vector<std::vector<std::string>> lists = {{},      {""},   {"", ""},
                                                       {"\\e"}, {"\\"}, {"a", "b,c", "d\\,e"}};
  for (const auto& list : lists) {
    Everything value;
    value.words = list;
    EXPECT_EQ(through_ini(value, false).words, list);
  }
}

TEST(Ini, NumbersComeBackToTheBit) {
  const double tiny = std::numeric_limits<double>::denorm_min(), huge = std::numeric_limits<double>::max();
  for (const double number : {0.0, -0.0, 0.1, 1.0 / 3, 3e-4, 1e300, tiny, -tiny, huge, -huge,
                              123456789.123456789, std::numeric_limits<double>::infinity()}) {
    Everything value;
    value.number = number;
    const double back = through_ini(value, false).number;
    EXPECT_EQ(back, number);
    EXPECT_EQ(std::signbit(back), std::signbit(number));
  }
  Everything value;
  value.on = true;
  value.small = std::numeric_limits<int>::min();
  value.wide = std::numeric_limits<std::int64_t>::min();
  value.unsigned_wide = std::numeric_limits<std::uint64_t>::max();
  value.counts = {-1, 0, std::numeric_limits<std::int64_t>::max()};
  const Everything back = through_ini(value, true);
  EXPECT_TRUE(back.on);
  EXPECT_EQ(back.small, value.small);
  EXPECT_EQ(back.wide, value.wide);
  EXPECT_EQ(back.unsigned_wide, value.unsigned_wide);
  EXPECT_EQ(back.counts, value.counts);
}

TEST(Ini, ReadsWhatPeopleWrite) {
  const auto entries = read_ini(
      "\xef\xbb\xbf# head\r\n; other\n\ntop=1\r\n [ optim ] # why\n lr = 3e-4   # peak\n name = a#b ; "
      "c\nempty=\nonly = # nothing\n"
      "url=x=y\nquoted = \" a # b \" ; c\nlast = no newline",
      "test");
  const std::vector<std::pair<std::string, std::string>> want = {
      {"top", "1"},       {"optim.lr", "3e-4"}, {"optim.name", "a#b"},       {"optim.empty", ""},
      {"optim.only", ""}, {"optim.url", "x=y"}, {"optim.quoted", " a # b "}, {"optim.last", "no newline"}};
  ASSERT_EQ(entries.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(entries[i].name, want[i].first);
    EXPECT_EQ(entries[i].value, want[i].second);
  }
  EXPECT_EQ(entries[0].line, 4);
  EXPECT_EQ(entries[7].line, 12);
}

TEST(Ini, MistakesNameFileLineAndText) {
  EXPECT_EQ(error_of("[a]\nno equals"), "file.ini:2: 'no equals' is not key = value");
  EXPECT_EQ(error_of("[a"), "file.ini:1: no closing ] in [a");
  EXPECT_EQ(error_of("[a] b"), "file.ini:1: 'b' behind a section");
  EXPECT_EQ(error_of("[ ]"), "file.ini:1: a section without a name");
  EXPECT_EQ(error_of("= 3"), "file.ini:1: no key before = in '= 3'");
  EXPECT_EQ(error_of("a = \"open"), "file.ini:1: no closing quote in \"open");
  EXPECT_EQ(error_of("a = \"b\" c"), "file.ini:1: 'c' behind a quoted value");
  EXPECT_EQ(error_of("a = \"\\q\""), "file.ini:1: unknown escape in \"\\q\"");
  EXPECT_EQ(error_of("a = \"\\x4\""), "file.ini:1: unknown escape in \"\\x4\"");
  EXPECT_EQ(error_of("\x1b[31m"), "file.ini:1: '\\x1b[31m' is not key = value");
}

TEST(Fields, ValuesThatAreNotWhatTheyShouldBe) {
  const auto refusal = [](const std::string& text, auto value) -> std::string {
    try {
      from_text(text, value);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(refusal("abc", 0), "'abc' is not a whole number");
  EXPECT_EQ(refusal("", 0), "'' is not a whole number");
  EXPECT_EQ(refusal("1.5", 0), "'1.5' is not a whole number");
  EXPECT_EQ(refusal(" 1", 0), "' 1' is not a whole number");
  EXPECT_EQ(refusal("2147483648", 0), "'2147483648' is out of range");
  EXPECT_EQ(refusal("-1", std::uint64_t{0}), "'-1' is not a whole number that is not negative");
  EXPECT_EQ(refusal("18446744073709551616", std::uint64_t{0}), "'18446744073709551616' is out of range");
  EXPECT_EQ(refusal("nan", 0.0), "'nan' is not a number");
  EXPECT_EQ(refusal("1e", 0.0), "'1e' is not a number");
  EXPECT_EQ(refusal("1e999", 0.0), "'1e999' is out of range");
  EXPECT_EQ(refusal("maybe", false), "'maybe' is not yes or no");
  EXPECT_EQ(refusal("1,,2", std::vector<std::int64_t>{}), "'' is not a whole number");
}

TEST(Fields, ARefusedListLeavesTheOldOne) {
  std::vector<std::int64_t> value = {7};
  EXPECT_THROW(from_text("1,x", value), Error);
  EXPECT_EQ(value, std::vector<std::int64_t>{7});
}

}  // namespace
}  // namespace lacuna
