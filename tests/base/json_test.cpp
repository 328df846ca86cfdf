// The JSON reader against files that mean harm: bounds, duplicates, bytes that are no text.
#include "src/base/json.h"

#include <gtest/gtest.h>

#include <chrono>

#include "src/base/error.h"

namespace lacuna {
namespace {

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, "f.json", limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Json, ReadsValuesInOrder) {
  const Json json = parse_json(R"({"z":1,"a":[true,null,-2.5,"\u00e9\ud83d\ude42"],"m":{}})", "f.json");
  EXPECT_EQ(json.dump(), "{\"z\":1,\"a\":[true,null,-2.5,\"é\xf0\x9f\x99\x82\"],\"m\":{}}");
  EXPECT_EQ(json.begin().key(), "z");
  EXPECT_EQ(json["z"], 1);
}

TEST(Json, DepthIsBoundedWithoutRecursion) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 100000; ++i) deep += open;
    EXPECT_TRUE(contains(refusal(deep), "nested deeper than 64 levels")) << refusal(deep);
    JsonLimits far;
    far.max_depth = 1'000'000;
    EXPECT_TRUE(
        contains(refusal(deep, far), "not valid JSON"));  // unclosed, and the half-built tree dies quietly
  }
  const std::string level64 = std::string(64, '[') + std::string(64, ']');
  EXPECT_EQ(refusal(level64), "no error");
  EXPECT_TRUE(contains(refusal("[" + level64 + "]"), "at byte 65: nested deeper"));
}

TEST(Json, DuplicateKeysAreRefusedHoweverTheyAreSpelled) {
  EXPECT_EQ(refusal(R"({"a":1,"b":2,"a":3})"), "f.json: at byte 19: the key 'a' stands twice in one object");
  EXPECT_TRUE(contains(refusal(R"({"a":1,"\u0061":2})"), "the key 'a' stands twice"));
  EXPECT_TRUE(contains(refusal(R"({"x":[{"\ud83d\ude42":1,"🙂":2}]})"), "stands twice"));
  EXPECT_TRUE(contains(refusal(R"({"":1,"":2})"), "the key '' stands twice"));
  EXPECT_EQ(refusal(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})"), "no error");
}

TEST(Json, ABigObjectIsNotQuadratic) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += fmt::format("{}\"key {}\":{}", i ? "," : "", i, i);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(text + "}", "f.json").size(), 200000u);
  EXPECT_TRUE(contains(refusal(text + ",\"key 7\":1}"), "the key 'key 7' stands twice"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));  // quadratic: minutes
}

TEST(Json, SizesAreBounded) {
  JsonLimits limits;
  limits.max_string = 10;
  EXPECT_EQ(refusal("[\"0123456789\"]", limits), "no error");
  EXPECT_EQ(refusal("[\"0123456789a\"]", limits),
            "f.json: at byte 14: a string of 11 bytes, at most 10 are read");
  EXPECT_TRUE(contains(refusal("{\"0123456789a\":1}", limits), "a string of 11 bytes"));
  limits = {};
  limits.max_bytes = 5;
  EXPECT_EQ(refusal("[1,2,3]", limits), "f.json: JSON of 7 bytes, at most 5 are read");
  limits = {};
  limits.max_values = 3;
  EXPECT_EQ(refusal("[1,2]", limits), "no error");
  EXPECT_TRUE(contains(refusal("[1,2,3]", limits), "more than 3 values"));
  EXPECT_TRUE(contains(refusal("[\"" + std::string(2 << 20, 'x') + "\"]"), "a string of 2097152 bytes"));
}

TEST(Json, BytesThatAreNoText) {
  for (const char* bad :
       {"[\"\xff\"]", "[\"\xc0\xaf\"]", "[\"\xed\xa0\x80\"]", "[\"\xf5\x80\x80\x80\"]", "[\"\xe2\x82\"]"})
    EXPECT_TRUE(contains(refusal(bad), "not valid JSON")) << bad;
  EXPECT_TRUE(contains(refusal(R"(["\ud800"])"), "not valid JSON"));
  EXPECT_TRUE(contains(refusal("[\"a\nb\"]"), "not valid JSON"));
  EXPECT_TRUE(contains(refusal(std::string("[1]\0", 4)), "not valid JSON"));
}

TEST(Json, WhatIsNoJson) {
  for (const char* bad :
       {"",     " ",          "NaN",      "[NaN]",   "[Infinity]", "[-Infinity]", "{\"a\":nan}",
        "[1,]", "{\"a\":1,}", "[1] 2",    "{'a':1}", "[01]",       "[1.]",        "[.5]",
        "[+1]", "[0x10]",     "// c\n[]", "[1e999]", "nul",        "[\"a]"})
    EXPECT_TRUE(contains(refusal(bad), "not valid JSON")) << bad << ": " << refusal(bad);
  EXPECT_TRUE(contains(refusal("[1, oops]"), "f.json: at byte 5: not valid JSON")) << refusal("[1, oops]");
  EXPECT_EQ(refusal("{\"a\":\x1b]}").find('\x1b'), std::string::npos);
}

TEST(Json, MayHaveToBeginWithABrace) {
  JsonLimits limits;
  limits.must_start_with_brace = true;
  EXPECT_EQ(refusal("{}", limits), "no error");
  EXPECT_EQ(refusal(" {}", limits), "f.json: at byte 0: wanted '{', found ' '");
  EXPECT_EQ(refusal("", limits), "f.json: at byte 0: wanted '{', found ''");
}

TEST(Json, TypedLookUps) {
  const Json json = parse_json(
      R"({"i":-3,"big":18446744073709551615,"whole":4096.0,"half":1.5,"far":1e17,"t":true,"s":"x","n":null,"o":{}})",
      "f");
  const auto text_of = [](auto&& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::BadInput);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(json_int(json, "i", "f"), -3);
  EXPECT_EQ(json_int(json, "whole", "f"), 4096);
  EXPECT_EQ(json_int(json, "absent", "f", 7), 7);
  EXPECT_EQ(json_int(json, "n", "f", 7), 7);
  EXPECT_EQ(json_double(json, "i", "f", 0), -3.0);
  EXPECT_TRUE(json_bool(json, "t", "f", false));
  EXPECT_EQ(json_string(json, "s", "f"), "x");
  EXPECT_EQ(json_string(json, "absent", "f", "y"), "y");
  EXPECT_EQ(text_of([&] { json_int(json, "absent", "f"); }), "f: 'absent' is missing");
  EXPECT_EQ(text_of([&] { json_int(json, "big", "f"); }),
            "f: 'big' must be a whole number, found 18446744073709551615");
  EXPECT_EQ(text_of([&] { json_int(json, "half", "f", 0); }), "f: 'half' must be a whole number, found 1.5");
  EXPECT_EQ(text_of([&] { json_int(json, "far", "f"); }), "f: 'far' must be a whole number, found 1e+17");
  EXPECT_EQ(text_of([&] { json_int(json, "t", "f"); }), "f: 't' must be a whole number, found true");
  EXPECT_EQ(text_of([&] { json_double(json, "s", "f", 0); }), "f: 's' must be a number, found \"x\"");
  EXPECT_EQ(text_of([&] { json_bool(json, "i", "f", false); }), "f: 'i' must be true or false, found -3");
  EXPECT_EQ(text_of([&] { json_string(json, "o", "f"); }), "f: 'o' must be a string, found object");
  EXPECT_EQ(text_of([&] { json_int(parse_json("[1]", "f"), "i", "f"); }),
            "f: wanted an object with 'i', found array");
}

}  // namespace
}  // namespace lacuna
