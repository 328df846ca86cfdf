#include <algorithm>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/tokenizer_readers.h"

namespace lacuna {
namespace {

// Names that end a text, for a tokenizer that came without any companion file.
constexpr const char* usual_eos[] = {"</s>",       "<|end_of_text|>", "<|endoftext|>",
                                     "<|eot_id|>", "<|im_end|>",      "<eos>"};

std::size_t vocabulary_of(const TokenizerParts& parts) {
  std::size_t count = parts.model.tokens.size();
  for (const AddedToken& token : parts.added) count = std::max(count, static_cast<std::size_t>(token.id) + 1);
  return count;
}

std::optional<std::int32_t> find_token(const TokenizerParts& parts, const std::string& content) {
  for (const AddedToken& token : parts.added)
    if (token.content == content) return token.id;
  const auto& tokens = parts.model.tokens;
  const auto found = std::find(tokens.begin(), tokens.end(), content);
  if (found == tokens.end()) return std::nullopt;
  return static_cast<std::int32_t>(found - tokens.begin());
}

// A token is written as text or as an object with "content".
std::optional<std::int32_t> named_token(const TokenizerParts& parts, const Json& object, const char* key,
                                        const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  const std::string content = found->is_object() ? json_string(*found, "content", where + ": " + key)
                                                 : json_string(object, key, where);
  const auto id = find_token(parts, content);
  LACUNA_CHECK(id, ErrorKind::BadInput, "{}: {} is '{}', which is not in the vocabulary", where, key,
               printable(content));
  return id;
}

std::int32_t checked_id(const TokenizerParts& parts, const Json& value, const char* key,
                        const std::string& where) {
  LACUNA_CHECK(value.is_number_integer(), ErrorKind::BadInput,
               "{}: {} must be a whole number or a list of them", where, key);
  const std::size_t count = vocabulary_of(parts);
  const bool fits = value.is_number_unsigned() && value.get<std::uint64_t>() < count;
  LACUNA_CHECK(fits, ErrorKind::BadInput, "{}: {} is {}, the vocabulary has {}", where, key, value.dump(),
               count);
  return value.get<std::int32_t>();
}

std::vector<std::int32_t> numbered_tokens(const TokenizerParts& parts, const Json& object, const char* key,
                                          const std::string& where) {
  std::vector<std::int32_t> out;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return out;
  if (!found->is_array()) return {checked_id(parts, *found, key, where)};
  for (const Json& value : *found) out.push_back(checked_id(parts, value, key, where));
  return out;
}

Json companion(const TokenizerFiles& files, const char* name, const std::string& where) {
  const auto found = files.find(name);
  if (found == files.end()) return Json::object();
  const std::string at = where + "/" + name;
  Json out = parse_json(found->second, at);
  LACUNA_CHECK(out.is_object(), ErrorKind::BadInput, "{}: wanted an object, found {}", at, out.type_name());
  return out;
}

void add_eos(TokenizerParts& parts, std::int32_t id) {
  if (std::find(parts.eos.begin(), parts.eos.end(), id) == parts.eos.end()) parts.eos.push_back(id);
}

// LLaMA's tokenizer classes build their post-processor from these two flags; elsewhere the flags count where
// the tokenizer itself says nothing.
void apply_add_flags(TokenizerParts& parts, const Json& config, const std::string& where) {
  const std::string kind = json_string(config, "tokenizer_class", where, "");
  const bool rebuilds = kind.rfind("LlamaTokenizer", 0) == 0 || kind.rfind("GemmaTokenizer", 0) == 0;
  const bool silent = parts.prefix.empty() && parts.suffix.empty();
  if (!rebuilds && !silent) return;
  if (config.contains("add_bos_token")) {
    parts.prefix.clear();
    if (json_bool(config, "add_bos_token", where, false) && parts.bos) parts.prefix = {*parts.bos};
  }
  if (config.contains("add_eos_token")) {
    parts.suffix.clear();
    if (json_bool(config, "add_eos_token", where, false) && !parts.eos.empty()) parts.suffix = {parts.eos[0]};
  }
}

}  // namespace

void apply_companions(TokenizerParts& parts, const TokenizerFiles& files, const std::string& where) {
  const Json config = companion(files, "tokenizer_config.json", where);
  const Json map = companion(files, "special_tokens_map.json", where);
  const Json generation = companion(files, "generation_config.json", where);
  const std::string at = where + "/tokenizer_config.json";
  auto bos = named_token(parts, config, "bos_token", at);
  if (!bos) bos = named_token(parts, map, "bos_token", where + "/special_tokens_map.json");
  auto eos = named_token(parts, config, "eos_token", at);
  if (!eos) eos = named_token(parts, map, "eos_token", where + "/special_tokens_map.json");
  const std::string generation_at = where + "/generation_config.json";
  const auto bos_ids = numbered_tokens(parts, generation, "bos_token_id", generation_at);
  const auto eos_ids = numbered_tokens(parts, generation, "eos_token_id", generation_at);
  if (!bos && !bos_ids.empty()) bos = bos_ids[0];
  if (bos) parts.bos = bos;
  if (eos || !eos_ids.empty()) parts.eos.clear();
  if (eos) add_eos(parts, *eos);
  for (const std::int32_t id : eos_ids) add_eos(parts, id);
  apply_add_flags(parts, config, at);
  if (!parts.bos && !parts.prefix.empty()) parts.bos = parts.prefix[0];
  if (parts.eos.empty())
    for (const AddedToken& token : parts.added)
      if (token.special &&
          std::find(std::begin(usual_eos), std::end(usual_eos), token.content) != std::end(usual_eos))
        add_eos(parts, token.id);
}

}  // namespace lacuna
