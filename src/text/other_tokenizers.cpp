// The small formats: llama2.c's tokenizer.bin, tiktoken's base64 lines, GPT-2's vocab.json with merges.txt.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/byte_level.h"
#include "src/text/tokenizer_readers.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr std::size_t max_token = 4096;

std::string base64_decoded(std::string_view text, const std::string& where, std::size_t line) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::size_t digit =
        std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    LACUNA_CHECK(digit != std::string_view::npos, ErrorKind::BadInput, "{}: line {} is not base64", where,
                 line);
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 255);
    }
  }
  return out;
}

void add_specials(TokenizerParts& parts, TiktokenKind kind) {
  std::vector<std::string> names = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  if (kind == TiktokenKind::Llama3) {
    names = {"<|begin_of_text|>", "<|end_of_text|>"};
    for (int i = 0; i < 4; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
    names.insert(names.end(),
                 {"<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"});
    for (int i = 5; i < 251; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  }
  for (const std::string& name : names) {
    const auto id = static_cast<std::int32_t>(parts.model.tokens.size() + parts.added.size());
    parts.added.push_back({.id = id, .content = name, .special = true});
    if (name == "<|begin_of_text|>") parts.bos = id;
    if (name == "<|end_of_text|>" || name == "<|endoftext|>" || name == "<|eot_id|>") parts.eos.push_back(id);
  }
  if (parts.bos) parts.prefix = {*parts.bos};
}

}  // namespace

TokenizerParts read_llama2c_tokenizer(std::string_view bytes, const std::string& where) {
  BoundedReader reader(std::as_bytes(std::span(bytes.data(), bytes.size())), where);
  reader.u32();  // the longest token: not needed
  TokenizerParts out;
  std::vector<float> scores;
  while (reader.remaining() > 0) {
    const float score = reader.f32();
    const std::int32_t size = reader.i32();
    LACUNA_CHECK(std::isfinite(score), ErrorKind::BadInput, "{}: the score of token {} is not a number",
                 where, scores.size());
    LACUNA_CHECK(size > 0 && size <= static_cast<std::int32_t>(max_token), ErrorKind::BadInput,
                 "{}: token {} has {} bytes, wanted 1 to {}", where, scores.size(), size, max_token);
    const auto text = reader.take(static_cast<std::size_t>(size));
    out.model.tokens.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
    LACUNA_CHECK(is_utf8(out.model.tokens.back()), ErrorKind::BadInput, "{}: token {} is not UTF-8", where,
                 scores.size());
    scores.push_back(score);
  }
  const std::size_t count = scores.size(), first_normal = 259;  // unk, bos, eos, 256 bytes
  LACUNA_CHECK(count > first_normal && out.model.tokens[3] == "<0x00>", ErrorKind::BadInput,
               "{}: not a llama2.c tokenizer ({} tokens, the fourth is not <0x00>)", where, count);
  std::vector<float> order(scores.begin() + first_normal, scores.end());
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  std::vector<std::uint32_t> ranks(count, no_merge_rank);
  for (std::size_t i = first_normal; i < count; ++i)
    ranks[i] = static_cast<std::uint32_t>(
        std::lower_bound(order.begin(), order.end(), scores[i], std::greater<>()) - order.begin());
  out.model.merges = merges_by_rank(out.model.tokens, ranks);
  out.model.byte_fallback = true;
  out.model.unknown = 0;
  for (std::int32_t id = 0; id < 3; ++id)
    out.added.push_back({.id = id,
                         .content = out.model.tokens[static_cast<std::size_t>(id)],
                         .special = true,
                         .hidden = true});
  out.normalizer.add(PrependStep{" "});
  out.decoder.byte_fallback = true;
  out.decoder.strip = " ";
  out.decoder.strip_count = 1;
  out.bos = 1;
  out.prefix = {1};
  out.eos = {2};
  out.kind = "llama2.c BPE";
  return out;
}

TokenizerParts read_tiktoken(std::string_view bytes, TiktokenKind kind, const std::string& where) {
  TokenizerParts out;
  std::vector<std::string> texts;
  std::vector<std::uint32_t> ranks;
  for (std::size_t at = 0, line = 1; at < bytes.size(); ++line) {
    const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
    std::string_view text = bytes.substr(at, end - at);
    at = end + 1;
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty()) continue;
    const std::size_t space = text.find(' ');
    std::size_t rank = 0;
    const char* last = text.data() + text.size();
    bool fits = space != std::string_view::npos;
    if (fits) {
      const auto [end_of_rank, problem] = std::from_chars(text.data() + space + 1, last, rank);
      fits = problem == std::errc() && end_of_rank == last && rank == texts.size();
    }
    LACUNA_CHECK(fits && rank < max_vocabulary, ErrorKind::BadInput, "{}: line {} is not 'base64 {}'", where,
                 line, texts.size());
    texts.push_back(base64_decoded(text.substr(0, space), where, line));
    LACUNA_CHECK(!texts.back().empty() && texts.back().size() <= max_token, ErrorKind::BadInput,
                 "{}: line {} is a token of {} bytes, wanted 1 to {}", where, line, texts.back().size(),
                 max_token);
    ranks.push_back(static_cast<std::uint32_t>(rank));
  }
  out.model.merges = merges_by_rank(texts, ranks);
  for (const std::string& text : texts) {
    std::string& token = out.model.tokens.emplace_back();
    for (const char c : text) token += byte_character(static_cast<std::uint8_t>(c));
  }
  out.model.byte_level = out.model.ignore_merges = true;
  out.decoder.byte_level = true;
  std::string pattern(llama3_pattern);
  if (kind == TiktokenKind::Qwen) {
    pattern.erase(pattern.find("{1,3}"), 5);
    out.normalizer.add(NfcStep{});
  }
  out.pre_tokenizer.add(SplitStep{SplitRegex(pattern), SplitBehavior::Isolated, false});
  add_specials(out, kind);
  out.kind = "byte-level BPE";
  return out;
}

TokenizerParts read_gpt2(std::string_view vocab, std::string_view merges, const std::string& where) {
  Json root = {{"model", {{"type", "BPE"}}},
               {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
               {"decoder", {{"type", "ByteLevel"}}}};
  Json words = parse_json(vocab, where + "/vocab.json");
  LACUNA_CHECK(words.is_object(), ErrorKind::BadInput, "{}/vocab.json: wanted an object", where);
  Json list = Json::array();
  for (std::size_t at = 0; at < merges.size();) {
    const std::size_t end = std::min(merges.find('\n', at), merges.size());
    std::string_view line = merges.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line.rfind("#version", 0) == 0) continue;
    LACUNA_CHECK(is_utf8(line), ErrorKind::BadInput, "{}/merges.txt: not valid UTF-8", where);
    list.push_back(line);
  }
  const auto end_of_text = words.find("<|endoftext|>");
  if (end_of_text != words.end())
    root["added_tokens"] =
        Json::array({{{"id", *end_of_text}, {"content", "<|endoftext|>"}, {"special", true}}});
  root["model"]["vocab"] = std::move(words);
  root["model"]["merges"] = std::move(list);
  return read_tokenizer_json(root.dump(), where);
}

}  // namespace lacuna
