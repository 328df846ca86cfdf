// Ids of tricky strings under many tokenizers, equal to Hugging Face's (tests/golden/make_tokenizer_ids.py),
// and what must hold for any text.
#include <gtest/gtest.h>

#include <sstream>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/text/tokenizer.h"
#include "src/text/utf8.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

using Ids = std::vector<std::int32_t>;

const Json& golden() {
  static const Json file = parse_json(read_file("tests/golden/tokenizer_ids.json", 1 << 20), "golden");
  return file;
}

// The tokenizer.json of a base; GPT-2's is put together from its two files.
const Json& base_json(const std::string& folder) {
  static std::map<std::string, Json> known;
  Json& root = known[folder];
  if (!root.is_null()) return root;
  const std::string path = test::data_folder() + "/" + folder;
  if (folder != "tokenizers/gpt2")
    return root = parse_json(read_file(path + "/tokenizer.json", 1 << 26), path);
  Json merges = Json::array();
  std::istringstream lines(read_file(path + "/merges.txt", 1 << 26));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty() && line.rfind("#version", 0) != 0) merges.push_back(line);
  root = Json::parse(R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
                         "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE"}})");
  root["model"]["vocab"] = parse_json(read_file(path + "/vocab.json", 1 << 26), path);
  root["model"]["merges"] = std::move(merges);
  root["added_tokens"] = Json::array({{{"id", 50256}, {"content", "<|endoftext|>"}, {"special", true}}});
  return root;
}

std::unique_ptr<Tokenizer> variant(const Json& entry) {
  Json root = base_json(entry["base"]);
  for (const auto& [pointer, value] : entry["patch"].items()) root[Json::json_pointer(pointer)] = value;
  return tokenizer_from_files({{"tokenizer.json", root.dump()}}, entry["name"].get<std::string>());
}

const Json& entry_of(const std::string& name) {
  for (const Json& entry : golden()["variants"])
    if (entry["name"] == name) return entry;
  ADD_FAILURE() << "no variant " << name;
  return golden();
}

TEST(TokenizerVariants, TrickyStrings) {
  const auto strings = golden()["strings"].get<std::vector<std::string>>();
  ASSERT_GE(strings.size(), 35u);
  ASSERT_GE(golden()["variants"].size(), 15u);
  for (const Json& entry : golden()["variants"]) {
    const auto tokenizer = variant(entry);
    for (std::size_t i = 0; i < strings.size(); ++i)
      EXPECT_EQ(tokenizer->encode(strings[i], false), entry["ids"][i].get<Ids>())
          << entry["name"] << ": " << strings[i];
  }
}

// Random text of all kinds.
std::string random_text(std::uint64_t number) {
  const std::uint64_t key = rng_key(11, "text");
  std::uint64_t draw = number * 1000;
  const auto below = [&](std::uint64_t bound) { return rng_below(key, draw++, bound); };
  const char* const words[] = {"once", " upon", "'ll", "<|end_of_text|>", "\n\n", "日本", " é",
                               "🚀",    "  ",    "123"};
  std::string out;
  for (std::uint64_t i = below(30); i > 0; --i) {
    if (below(2)) {
      out += words[below(std::size(words))];
    } else {
      const auto code = static_cast<char32_t>(below(below(3) ? 0x400 : 0x20000));
      append_utf8(out, code >= 0xd800 && code <= 0xdfff ? U'?' : code);
    }
  }
  return out;
}

TEST(TokenizerProperties, ByteLevelTextRoundTrips) {
  const auto tokenizer = load_tokenizer(test::data_folder() + "/models/books17m");
  for (std::uint64_t number = 0; number < 500; ++number) {
    const std::string text = random_text(number);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text);
  }
}

TEST(TokenizerProperties, AStreamGivesTheSameTextAsDecodingAtOnce) {
  for (const char* folder :
       {"/models/books17m", "/tokenizers/llama2/tokenizer.model", "/models/stories656k"}) {
    const auto tokenizer = load_tokenizer(test::data_folder() + folder);
    for (std::uint64_t number = 0; number < 200; ++number) {
      Ids ids = tokenizer->encode(random_text(number), true);
      for (std::uint64_t extra = 0; extra < 5; ++extra)  // and ids that no text gives
        ids.push_back(static_cast<std::int32_t>(rng_below(
            rng_key(3, folder), number * 5 + extra, static_cast<std::uint64_t>(tokenizer->vocab_size()))));
      TextStream stream = tokenizer->stream();
      std::string streamed;
      for (const std::int32_t id : ids) {
        const std::string part = stream.push(id);
        EXPECT_TRUE(is_utf8(part));
        streamed += part;
      }
      streamed += stream.finish();
      EXPECT_EQ(streamed, tokenizer->decode(ids, false));
    }
  }
}

TEST(TokenizerProperties, InvalidUtf8CountsAsReplacementCharacters) {
  for (const char* name : {"books", "story", "gpt2"}) {
    const auto tokenizer = variant(entry_of(name));
    for (const std::string& text : {std::string("a\xff z"), std::string("\xed\xa0\x80"),
                                    std::string("cut \xe2\x82"), std::string("\xc0\x80x\x80")})
      EXPECT_EQ(tokenizer->encode(text, false), tokenizer->encode(to_valid_utf8(text), false));
  }
}

TEST(TokenizerProperties, CuttingAtTextsThatNoMergeJoinsChangesNothing) {
  // The same text as one piece and with the merges' neighbours unknown to the encoder: line by line.
  const auto tokenizer = load_tokenizer(test::data_folder() + "/tokenizers/llama2/tokenizer.model");
  const std::string line = "It was a dark night, and the wind blew.";
  const Ids one = tokenizer->encode(line, false);
  std::string many;
  for (int i = 0; i < 2000; ++i) many += (i ? "\n" : "") + line;
  const Ids all = tokenizer->encode(many, false);
  const Ids rest = tokenizer->encode("\n" + line, false);  // begins with the dummy prefix's token
  ASSERT_EQ(all.size(), one.size() + 1999 * (rest.size() - 1));
  EXPECT_EQ(Ids(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(one.size())), one);
  EXPECT_EQ(Ids(all.end() - static_cast<std::ptrdiff_t>(rest.size() - 1), all.end()),
            Ids(rest.begin() + 1, rest.end()));
}

}  // namespace
}  // namespace lacuna
