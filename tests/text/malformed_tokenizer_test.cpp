// Tokenizer files with one thing wrong: each is refused in one line that names it, and soon. The numbers T77
// to T92 are kinds of mistakes.
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/text/tokenizer.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

// A sound little tokenizer: a, b, ab and two special tokens.
Json sound() {
  return Json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<s>", "special": true},
                     {"id": 1, "content": "</s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}]},
    "model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4}, "merges": ["a b"]}})");
}

std::string refusal(const TokenizerFiles& files) {
  const std::clock_t start = std::clock();
  std::string message = "(accepted)";
  try {
    tokenizer_from_files(files, "x");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput) << error.what();
    message = error.what();
  }
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 1.0) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message;
}

void expect_refused(const TokenizerFiles& files, const std::string& part) {
  const std::string message = refusal(files);
  EXPECT_NE(message.find(part), std::string::npos)
      << "wanted '" << part << "' in: " << message.substr(0, 400);
}

void expect_refused(const std::function<void(Json&)>& spoil, const std::string& part) {
  Json root = sound();
  spoil(root);
  expect_refused({{"tokenizer.json", root.dump()}}, part);
}

TEST(MalformedTokenizer, TheSoundOneIsAccepted) {
  const auto tokenizer = tokenizer_from_files({{"tokenizer.json", sound().dump()}}, "x");
  EXPECT_EQ(tokenizer->encode("abba", true), (std::vector<std::int32_t>{0, 4, 3, 2}));
}

TEST(MalformedTokenizer, T77NotJson) {
  expect_refused({{"tokenizer.json", ""}}, "not valid JSON");
  expect_refused({{"tokenizer.json", "{\"model\": "}}, "not valid JSON");
  expect_refused({{"tokenizer.json", "[1, 2]"}}, "wanted an object, found array");
  expect_refused({{"tokenizer.json", std::string("PK\x03\x04") + std::string(100, '\0')}}, "not valid JSON");
  expect_refused({{"tokenizer.json", "version https://git-lfs.github.com/spec/v1\n"}}, "not valid JSON");
}

TEST(MalformedTokenizer, T78UnsupportedModels) {
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"})
    expect_refused([&](Json& j) { j["model"]["type"] = type; }, std::string("a model of type ") + type);
  expect_refused([](Json& j) { j.erase("model"); }, "'model' is missing");
  expect_refused([](Json& j) { j["model"]["type"] = 3; }, "'type' must be a string");
  expect_refused([](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; },
                 "'end_of_word_suffix' is not supported");
  expect_refused([](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout is not supported");
  expect_refused([](Json& j) { j["model"].erase("vocab"); }, "'model.vocab' must be an object");
  expect_refused([](Json& j) { j["model"].erase("merges"); }, "'merges' must be a list");
}

TEST(MalformedTokenizer, T79DuplicateTokens) {
  std::string text = sound().dump();
  text.replace(text.find("\"b\":3"), 5, "\"a\":3");
  expect_refused({{"tokenizer.json", text}}, "the key 'a' stands twice");
  text = sound().dump();
  text.replace(text.find("\"b\":3"), 5, "\"\\u0061\":3");
  expect_refused({{"tokenizer.json", text}}, "the key 'a' stands twice");
  expect_refused([](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
                 "the added token '<s>' stands twice");
}

TEST(MalformedTokenizer, T80DuplicateAndMissingIds) {
  expect_refused([](Json& j) { j["model"]["vocab"]["b"] = 2; }, "the id 2 belongs to 'a' and to 'b'");
  expect_refused([](Json& j) { j["model"]["vocab"]["ab"] = 6; }, "the id 4 has no token");
  expect_refused([](Json& j) { j["model"]["vocab"]["ab"] = 1'999'999; },
                 "has the id 1999999, there are 7 tokens");
  expect_refused(
      [](Json& j) {
        j["added_tokens"].push_back({{"id", 2}, {"content", "<x>"}});
      },
      "the id 2 belongs to 'a' and to '<x>'");
  expect_refused([](Json& j) { j["added_tokens"].push_back({{"id", 7}, {"content", "<x>"}}); }, "ids");
}

TEST(MalformedTokenizer, T81IdsOutOfRange) {
  for (const Json& id :
       {Json(-1), Json(4'000'000), Json(std::uint64_t{1} << 63), Json("2"), Json(2.5), Json(nullptr)})
    expect_refused([&](Json& j) { j["model"]["vocab"]["ab"] = id; }, "'ab'");
  expect_refused([](Json& j) { j["added_tokens"][0]["id"] = -1; }, "has the id -1");
  expect_refused([](Json& j) { j["added_tokens"][0]["id"] = 3; }, "has the id 3, in the vocabulary it is 0");
  expect_refused([](Json& j) { j["added_tokens"][0]["id"] = 1e300; }, "whole number");
}

TEST(MalformedTokenizer, T83MergesOfUnknownPieces) {
  expect_refused([](Json& j) { j["model"]["merges"] = {"a z"}; },
                 "merge 0 names 'z', which is not in the vocabulary");
  expect_refused([](Json& j) { j["model"]["merges"] = {"a b", "b a"}; }, "merge 1 names 'ba'");
}

TEST(MalformedTokenizer, T84MergesThatAreNoPairs) {
  for (const char* merge : {"ab", "a b c", ""})
    expect_refused([&](Json& j) { j["model"]["merges"] = Json::array({merge}); }, "merge 0");
  expect_refused([](Json& j) { j["model"]["merges"] = Json::array({Json::array({"a"})}); },
                 "merge 0 is not a pair");
  expect_refused(
      [](Json& j) {
        j["model"]["merges"] = Json::array({Json::array({"a", 3})});
      },
      "merge 0 is not a pair");
  expect_refused([](Json& j) { j["model"]["merges"] = Json::array({7}); }, "merge 0 is not a pair");
  expect_refused([](Json& j) { j["model"]["merges"] = "a b"; }, "'merges' must be a list");
}

TEST(MalformedTokenizer, T85CyclesAndTooManyMerges) {
  // A cycle would need a piece that merges to itself: an empty side.
  expect_refused(
      [](Json& j) {
        j["model"]["merges"] = Json::array({Json::array({"", "a"})});
      },
      "an empty piece");
  expect_refused([](Json& j) { j["model"]["merges"] = {" a"}; }, "an empty piece");
  std::string text = sound().dump(), many;
  many.reserve(70'000'000);
  for (int i = 0; i < 9'999'999; ++i) many += "\"a b\",";
  text.replace(text.find("[\"a b\"]"), 7, "[" + many + "\"a b\"]");
  expect_refused({{"tokenizer.json", text}}, "more than 9000000 values");
}

TEST(MalformedTokenizer, T86ByteTokens) {
  const auto with = [](const std::vector<std::string>& tokens) {
    return [tokens](Json& j) {
      j["model"]["byte_fallback"] = true;
      for (const std::string& token : tokens) j["model"]["vocab"][token] = j["model"]["vocab"].size();
    };
  };
  expect_refused(with({"<0x-1>"}), "the byte token '<0x-1>' does not name a byte");
  expect_refused(with({"<0xGG>"}), "the byte token '<0xGG>' does not name a byte");
  expect_refused(with({"<0x41>"}), "byte fallback with 1 of 256 byte tokens");
  std::vector<std::string> most;
  for (int byte = 0; byte < 255; ++byte) most.push_back(fmt::format("<0x{:02X}>", byte));
  expect_refused(with(most), "byte fallback with 255 of 256 byte tokens");
}

TEST(MalformedTokenizer, T87SpecialIds) {
  const std::string good = sound().dump();
  expect_refused([](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"][0] = 5; },
                 "the id 5, the vocabulary has 5");
  expect_refused([](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"][0] = -1; }, "the id -1");
  expect_refused([](Json& j) { j["post_processor"]["special_tokens"].erase("<s>"); },
                 "which it does not define");
  expect_refused([](Json& j) { j["model"]["unk_token"] = "<unk>"; },
                 "unk_token '<unk>' is not in the vocabulary");
  for (const char* value : {"5", "-1", "[1, 99]", "99999999999999999999", "1.5", "\"1\""})
    expect_refused({{"tokenizer.json", good},
                    {"generation_config.json", fmt::format("{{\"eos_token_id\": {}}}", value)}},
                   "eos_token_id");
  expect_refused({{"tokenizer.json", good}, {"tokenizer_config.json", R"({"bos_token": "<bos>"})"}},
                 "bos_token is '<bos>', which is not in the vocabulary");
  expect_refused(
      {{"tokenizer.json", good}, {"tokenizer_config.json", R"({"eos_token": {"content": "<e>"}})"}},
      "eos_token is '<e>'");
  expect_refused({{"tokenizer.json", good}, {"tokenizer_config.json", "[]"}},
                 "wanted an object, found array");
  // Defaults when the keys are absent stay inside the vocabulary.
  const auto tokenizer = tokenizer_from_files({{"tokenizer.json", good}}, "x");
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_ids(), std::vector<std::int32_t>{1});
}

TEST(MalformedTokenizer, T88AddedTokensEmptyOrHuge) {
  expect_refused(
      [](Json& j) {
        j["added_tokens"].push_back({{"id", 5}, {"content", ""}});
      },
      "the id 5 is empty");
  expect_refused(
      [](Json& j) {
        j["added_tokens"].push_back({{"id", 5}, {"content", std::string(1 << 20, 'x')}});
      },
      "an added token of 1048576 bytes");
  expect_refused([](Json& j) { j["model"]["vocab"][""] = 5; }, "an empty token with the id 5");
}

TEST(MalformedTokenizer, T89BrokenUtf8) {
  for (const char* bytes : {"\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82"}) {
    std::string text = sound().dump();
    text.replace(text.find("\"b\":3"), 5, std::string("\"") + bytes + "\":3");
    expect_refused({{"tokenizer.json", text}}, "not valid JSON");
  }
  std::string text = sound().dump();
  text.replace(text.find("\"b\":3"), 5, "\"\\ud800\":3");
  expect_refused({{"tokenizer.json", text}}, "not valid JSON");
}

TEST(MalformedTokenizer, T90Patterns) {
  const auto pattern = [](const std::string& regex) {
    return [regex](Json& j) { j["pre_tokenizer"]["pattern"] = {{"Regex", regex}}; };
  };
  expect_refused(pattern("(a+)+$"), "unbounded repetition inside unbounded repetition");
  expect_refused(pattern("(?:a*b*)*c"), "unbounded repetition inside unbounded repetition");
  expect_refused(pattern("a*"), "it can match the empty string");
  expect_refused(pattern("a|"), "it can match the empty string");
  expect_refused(pattern(""), "it can match the empty string");
  expect_refused(pattern("(?!a)"), "it can match the empty string");
  expect_refused(pattern("(?<=a)b"), "this kind of group is not supported");
  expect_refused(pattern("(?<x>a)\\k<x>"), "not supported");
  expect_refused(pattern("(a)\\1"), "the escape \\1 is not supported");
  expect_refused(pattern("^a"), "'^' is not supported");
  expect_refused(pattern("(a"), "')' is missing");
  expect_refused(pattern("a)"), "')' without '('");
  expect_refused(pattern("[a"), "']' is missing");
  expect_refused(pattern("[z-a]"), "a range that runs backwards");
  expect_refused(pattern("[a[b]]"), "classes inside classes");
  expect_refused(pattern("\\p{Klingon}"), "the property 'Klingon' is not supported");
  expect_refused(pattern("\\p{L"), "'}' is missing");
  expect_refused(pattern("a{3,2}"), "malformed {n,m}");
  expect_refused(pattern("a{"), "malformed {n,m}");
  expect_refused(pattern("a{99999}"), "malformed {n,m}");
  expect_refused(pattern("(?:(?:a{900}){900}){900}"), "too large");
  expect_refused(pattern("\\x{110000}"), "malformed code point");
  expect_refused(pattern("a\\"), "it ends too early");
  expect_refused(pattern(std::string(5000, '(') + "a" + std::string(5000, ')')), "longer than");
  expect_refused(pattern(std::string(100, '(') + "a" + std::string(100, ')')), "nested deeper than");
  expect_refused([](Json& j) { j["pre_tokenizer"]["pattern"] = {{"String", ""}}; }, "a pattern must be");
  // What slips through the rules above stops at the budget, not after hours.
  Json root = sound();
  pattern("a*a*a*a*a*a*b")(root);
  const auto tokenizer = tokenizer_from_files({{"tokenizer.json", root.dump()}}, "x");
  try {
    tokenizer->encode(std::string(5000, 'a'), false);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput);
    EXPECT_NE(std::string(error.what()).find("backtracks without end"), std::string::npos) << error.what();
  }
}

TEST(MalformedTokenizer, T91DeepAndUnknownSteps) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += R"({"type":"Sequence","normalizers":[)";
  std::string text = sound().dump();
  const std::size_t at = text.find("{\"type\":\"NFC\"}");
  for (int i = 0; i < 10'000; ++i) text.insert(at + std::strlen("{\"type\":\"NFC\"}"), "]}");
  text.insert(at, deep);
  expect_refused({{"tokenizer.json", text}}, "nested deeper than 64 levels");
  expect_refused(
      [](Json& j) {
        j["normalizer"] = {{"type", "Precompiled"}};
      },
      "the normalizer Precompiled is not supported");
  expect_refused([](Json& j) { j["normalizer"] = "NFC"; }, "must be an object");
  expect_refused(
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      "the pre_tokenizer Whitespace is not supported");
  expect_refused([](Json& j) { j["pre_tokenizer"]["behavior"] = "Sideways"; }, "split behavior 'Sideways'");
  expect_refused(
      [](Json& j) {
        j["decoder"] = {{"type", "WordPiece"}};
      },
      "the decoder WordPiece is not supported");
  expect_refused(
      [](Json& j) {
        j["post_processor"] = {{"type", "Other"}};
      },
      "the post_processor Other is not supported");
}

std::string llama2c_bytes(const std::vector<std::pair<float, std::string>>& tokens) {
  std::string out(4, '\1');
  for (const auto& [score, text] : tokens) {
    const auto size = static_cast<std::int32_t>(text.size());
    out.append(reinterpret_cast<const char*>(&score), 4);
    out.append(reinterpret_cast<const char*>(&size), 4);
    out += text;
  }
  return out;
}

TEST(MalformedTokenizer, T92ScoresAndLengthsOfTokenizerBin) {
  std::vector<std::pair<float, std::string>> tokens = {{0, "<unk>"}, {0, "<s>"}, {0, "</s>"}};
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(0, fmt::format("<0x{:02X}>", byte));
  tokens.insert(tokens.end(), {{0, "a"}, {-1, "b"}, {-2, "ab"}});
  const std::string good = llama2c_bytes(tokens);
  EXPECT_EQ(tokenizer_from_files({{"tokenizer.bin", good}}, "x")->encode("ab", false).back(), 261);
  auto nan = tokens;
  nan[260].first = std::nanf("");
  expect_refused({{"tokenizer.bin", llama2c_bytes(nan)}}, "the score of token 260 is not a number");
  auto twice = tokens;
  twice[260].second = "a";
  expect_refused({{"tokenizer.bin", llama2c_bytes(twice)}}, "the token 'a' stands twice");
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, std::size_t{9}, good.size() - 1})
    expect_refused({{"tokenizer.bin", good.substr(0, size)}}, "x");
  std::string negative = good;
  negative.replace(8, 4, "\xff\xff\xff\xff");
  expect_refused({{"tokenizer.bin", negative}}, "token 0 has -1 bytes");
  std::string huge = good;
  huge.replace(8, 4, std::string("\xff\xff\xff\x7f", 4));
  expect_refused({{"tokenizer.bin", huge}}, "token 0 has 2147483647 bytes");
}

// Protobuf by hand: a length-delimited field.
std::string field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  std::size_t size = bytes.size();
  do {
    out += static_cast<char>((size & 127) | (size > 127 ? 128 : 0));
    size >>= 7;
  } while (size);
  return out + bytes;
}

std::string piece(const std::string& text, float score, int type) {
  std::string out = field(1, text) + "\x15";
  out.append(reinterpret_cast<const char*>(&score), 4);
  return field(1, out + "\x18" + std::string(1, static_cast<char>(type)));
}

TEST(MalformedTokenizer, SentencePieceModels) {
  const std::string trainer = field(2, "\x18\x02"), normalizer = field(3, std::string("\x20\x00", 2));
  const std::string pieces = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) +
                             piece("a", -1, 1) + piece("b", -2, 1) + piece("ab", -3, 1);
  const auto refused = [](const std::string& bytes, const std::string& part) {
    expect_refused({{"tokenizer.model", bytes}}, part);
  };
  const auto tokenizer = tokenizer_from_files({{"tokenizer.model", pieces + trainer + normalizer}}, "x");
  EXPECT_EQ(tokenizer->encode("ab", false), (std::vector<std::int32_t>{0, 5}));
  refused("", "no pieces");
  refused("hello", "x");
  refused(pieces + normalizer, "unigram: only BPE is supported");
  refused(pieces + trainer, "white space removal");
  refused(pieces + piece("c", std::nanf(""), 1) + trainer + normalizer,
          "the score of piece 'c' is not a number");
  refused(pieces + piece("c", 0, 9) + trainer + normalizer, "the piece 'c' has the unsupported type 9");
  refused(pieces + piece("a", 0, 1) + trainer + normalizer, "the token 'a' stands twice");
  refused(pieces + piece("\xed\xa0\x80", 0, 1) + trainer + normalizer, "not UTF-8");
  refused(pieces + piece("<0x41>", 0, 6) + trainer + normalizer, "byte fallback with 1 of 256");
  refused(pieces + field(2, std::string("\x18\x02\xc8\x02\x63", 5)) + normalizer, "bos 99");
  refused(pieces.substr(0, pieces.size() - 1) + trainer, "x");
  refused(std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), "a field longer than the file");
  refused(std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12),
          "a number of more than 10 bytes");
  refused(std::string(1, '\x0b'), "not a SentencePiece model");
}

TEST(MalformedTokenizer, TiktokenLines) {
  expect_refused({{"q.tiktoken", "IQ== 0\nIg== 2\n"}}, "line 2 is not 'base64 1'");
  expect_refused({{"q.tiktoken", "IQ== 0\nIg==\n"}}, "line 2");
  expect_refused({{"q.tiktoken", "I?== 0\n"}}, "line 1 is not base64");
  expect_refused({{"q.tiktoken", "IQ== 0\nIQ== 1\n"}}, "the token '!' stands twice");
  expect_refused({{"q.tiktoken", "IQ== 99999999999999999999\n"}}, "line 1");
}

TEST(MalformedTokenizer, Folders) {
  test::TempFolder folder;
  EXPECT_THROW(load_tokenizer(folder.path()), Error);
  EXPECT_THROW(load_tokenizer(folder / "absent"), Error);
  EXPECT_FALSE(has_tokenizer(folder.path()));
  std::ofstream(folder / "vocab.json") << R"({"a": 0})";
  try {
    load_tokenizer(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("vocab.json without merges.txt"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace lacuna
