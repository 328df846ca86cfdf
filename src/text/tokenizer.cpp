#include "src/text/tokenizer.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

// Over the files that decide the ids; companions name BOS and EOS and may differ.
std::string identity(const TokenizerFiles& files) {
  std::string all;
  for (const auto& [name, bytes] : files)
    if (name != "tokenizer_config.json" && name != "special_tokens_map.json" &&
        name != "generation_config.json")
      all += bytes;
  return sha256_hex(all.data(), all.size());
}

}  // namespace

Tokenizer::Tokenizer(TokenizerParts parts, TokenizerFiles files)
    : parts_(std::move(parts)),
      files_(std::move(files)),
      sha256_(identity(files_)),
      bpe_(std::move(parts_.model)) {
  names_ = bpe_.tokens();
  for (const AddedToken& token : parts_.added) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= names_.size()) names_.resize(id + 1);
    names_[id] = token.content;
    added_ids_.emplace(token.content, token.id);
  }
  special_.resize(names_.size());
  for (const AddedToken& token : parts_.added) {
    if (token.special) special_[static_cast<std::size_t>(token.id)] = true;
    if (token.hidden) continue;
    if (token.normalized) {
      const std::string content = parts_.normalizer.apply(token.content);
      if (!content.empty()) normalized_finder_.add(content, token);
    } else {
      raw_finder_.add(token.content, token);
    }
  }
  texts_.reserve(names_.size());
  for (const std::string& name : names_) texts_.push_back(make_token_text(parts_.decoder, name));
  const auto in_range = [&](std::int32_t id) { return id >= 0 && id < vocab_size(); };
  LACUNA_ASSERT(!parts_.bos || in_range(*parts_.bos));
  LACUNA_ASSERT(std::all_of(parts_.eos.begin(), parts_.eos.end(), in_range));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool special) const {
  std::string repaired;
  if (!is_utf8(text)) text = repaired = to_valid_utf8(text);
  std::vector<std::int32_t> out;
  if (special) out = parts_.prefix;
  BpeCache cache;
  const auto found = [&](std::int32_t id) { out.push_back(id); };
  const auto piece = [&](std::string_view part) { bpe_.encode(part, cache, out); };
  const char* const begin = text.data();
  const auto normalized_part = [&](std::string_view whole, bool starts) {
    const auto part = [&](std::string_view rest) {
      parts_.pre_tokenizer.cut(rest, starts && rest.data() == whole.data(), piece);
    };
    normalized_finder_.split(whole, part, found);
  };
  const auto raw_part = [&](std::string_view part) {
    const bool starts = part.data() == begin;
    if (parts_.normalizer.empty()) return normalized_part(part, starts);
    const std::string normal = parts_.normalizer.apply(part);
    normalized_part(normal, starts);
  };
  raw_finder_.split(text, raw_part, found);
  if (special) out.insert(out.end(), parts_.suffix.begin(), parts_.suffix.end());
  return out;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  TextStream text = stream();
  std::string out;
  for (const std::int32_t id : ids)
    if (!skip_special || !is_special(id)) out += text.push(id);
  return out + text.finish();
}

const std::string& Tokenizer::token(std::int32_t id) const {
  LACUNA_CHECK(id >= 0 && id < vocab_size(), ErrorKind::BadInput,
               "token id {} is outside the vocabulary of {}", id, vocab_size());
  return names_[static_cast<std::size_t>(id)];
}

std::string Tokenizer::token_bytes(std::int32_t id) const {
  token(id);
  const TokenText& text = texts_[static_cast<std::size_t>(id)];
  return text.fallback_byte >= 0 ? std::string(1, static_cast<char>(text.fallback_byte)) : text.bytes;
}

std::int32_t Tokenizer::id_of(const std::string& token) const {
  const auto added = added_ids_.find(token);
  return added != added_ids_.end() ? added->second : bpe_.id_of(token);
}

bool Tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocab_size() && special_[static_cast<std::size_t>(id)];
}

bool Tokenizer::is_eos(std::int32_t id) const {
  return std::find(parts_.eos.begin(), parts_.eos.end(), id) != parts_.eos.end();
}

}  // namespace lacuna
