#include <algorithm>
#include <unordered_map>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/text/tokenizer_readers.h"

namespace lacuna {
namespace {

constexpr std::size_t max_added_content = 4096, max_json_values = 9'000'000;

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

class Reader {
 public:
  Reader(const Json& root, const std::string& where) : root_(root), where_(where) {}

  TokenizerParts read() {
    LACUNA_CHECK(root_.is_object(), ErrorKind::BadInput, "{}: wanted an object, found {}", where_,
                 root_.type_name());
    const Json* model = member(root_, "model");
    if (!model || !model->is_object()) refuse("'model' is missing");
    const std::string type = json_string(*model, "type", where_, member(*model, "merges") ? "BPE" : "(none)");
    if (type != "BPE") refuse("a model of type {}: only BPE is supported", printable(type));
    read_options(*model);
    read_vocabulary(*model);
    read_added();
    check_ids();
    read_merges(*model);
    if (const Json* item = member(root_, "normalizer")) normalizer(*item);
    if (const Json* item = member(root_, "pre_tokenizer")) pre_tokenizer(*item);
    parts_.model.byte_level = byte_level_;
    if (byte_level_ && parts_.model.byte_fallback) check_byte_alphabet();
    if (const Json* item = member(root_, "decoder")) {
      decoder(*item);
    } else {
      parts_.decoder.join_with_space = true;
    }
    if (const Json* item = member(root_, "post_processor")) post_processor(*item);
    parts_.kind = byte_level_ ? "byte-level BPE" : "SentencePiece BPE";
    return std::move(parts_);
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::BadInput, "{}: {}", where_, fmt::format(format, std::forward<Args>(args)...));
  }
  std::string type_of(const Json& item, const char* what) const {
    if (!item.is_object()) refuse("{} must be an object, found {}", what, item.type_name());
    return json_string(item, "type", where_ + ": " + what);
  }
  const Json& list_of(const Json& item, const char* key) const {
    const Json* list = member(item, key);
    if (!list || !list->is_array()) refuse("'{}' must be a list", key);
    return *list;
  }

  void read_options(const Json& model) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!json_string(model, key, where_, "").empty()) refuse("'{}' is not supported", key);
    if (const Json* dropout = member(model, "dropout"))
      if (!dropout->is_number() || dropout->get<double>() != 0.0) refuse("dropout is not supported");
    parts_.model.fuse_unknown = json_bool(model, "fuse_unk", where_, false);
    parts_.model.byte_fallback = json_bool(model, "byte_fallback", where_, false);
    parts_.model.ignore_merges = json_bool(model, "ignore_merges", where_, false);
  }

  void read_vocabulary(const Json& model) {
    const Json* vocabulary = member(model, "vocab");
    if (!vocabulary || !vocabulary->is_object()) refuse("'model.vocab' must be an object");
    if (vocabulary->size() > max_vocabulary)
      refuse("{} tokens, at most {} are read", vocabulary->size(), max_vocabulary);
    ids_.reserve(vocabulary->size());
    const Json* added = member(root_, "added_tokens");  // their ids may lie between the vocabulary's
    const auto limit =
        static_cast<std::int64_t>(vocabulary->size() + (added && added->is_array() ? added->size() : 0));
    for (const auto& [token, value] : vocabulary->get_ref<const Json::object_t&>()) {
      if (!value.is_number_integer()) refuse("the id of token '{}' is not a whole number", printable(token));
      const auto id =
          value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(limit)
              ? limit
              : value.get<std::int64_t>();
      if (id < 0 || id >= limit)
        refuse("the token '{}' has the id {}, there are {} tokens", printable(token), value.dump(), limit);
      if (token.empty()) refuse("an empty token with the id {}", id);
      place(static_cast<std::size_t>(id), token);
      ids_.emplace(token, static_cast<std::int32_t>(id));
    }
    const std::string unknown = json_string(model, "unk_token", where_, "");
    if (!unknown.empty()) {
      const auto found = ids_.find(unknown);
      if (found == ids_.end()) refuse("unk_token '{}' is not in the vocabulary", printable(unknown));
      parts_.model.unknown = found->second;
    }
  }

  void place(std::size_t id, const std::string& token) {
    auto& tokens = parts_.model.tokens;
    if (id >= tokens.size()) tokens.resize(id + 1);
    if (!tokens[id].empty())
      refuse("the id {} belongs to '{}' and to '{}'", id, printable(tokens[id]), printable(token));
    tokens[id] = token;
  }

  void read_added() {
    const Json* list = member(root_, "added_tokens");
    if (!list) return;
    if (!list->is_array()) refuse("'added_tokens' must be a list");
    for (const Json& item : *list) {
      const std::string at = where_ + ": added_tokens";
      AddedToken token;
      token.content = json_string(item, "content", at);
      const std::int64_t id = json_int(item, "id", at);
      if (token.content.empty()) refuse("the added token with the id {} is empty", id);
      if (token.content.size() > max_added_content)
        refuse("an added token of {} bytes, at most {} are read", token.content.size(), max_added_content);
      if (id < 0 || id >= static_cast<std::int64_t>(max_vocabulary))
        refuse("the added token '{}' has the id {}", printable(token.content), id);
      token.id = static_cast<std::int32_t>(id);
      token.special = json_bool(item, "special", at, false);
      token.normalized = json_bool(item, "normalized", at, !token.special);
      token.single_word = json_bool(item, "single_word", at, false);
      token.lstrip = json_bool(item, "lstrip", at, false);
      token.rstrip = json_bool(item, "rstrip", at, false);
      const auto known = ids_.find(token.content);
      if (known != ids_.end() && known->second != token.id)
        refuse("the added token '{}' has the id {}, in the vocabulary it is {}", printable(token.content), id,
               known->second);
      parts_.added.push_back(std::move(token));
    }
  }

  // Every id up to the largest belongs to exactly one token.
  void check_ids() const {
    const auto& tokens = parts_.model.tokens;
    std::size_t count = tokens.size();
    for (const AddedToken& token : parts_.added)
      count = std::max(count, static_cast<std::size_t>(token.id) + 1);
    if (count > tokens.size() + parts_.added.size()) refuse("{} ids have no token", count - tokens.size());
    if (count == 0) refuse("no tokens at all");
    std::vector<const std::string*> owner(count, nullptr);
    for (std::size_t id = 0; id < tokens.size(); ++id)
      if (!tokens[id].empty()) owner[id] = &tokens[id];
    std::unordered_map<std::string, std::int32_t> contents;
    for (const AddedToken& token : parts_.added) {
      const std::string*& other = owner[static_cast<std::size_t>(token.id)];
      if (other && *other != token.content)
        refuse("the id {} belongs to '{}' and to '{}'", token.id, printable(*other),
               printable(token.content));
      if (!contents.emplace(token.content, token.id).second)
        refuse("the added token '{}' stands twice", printable(token.content));
      other = &token.content;
    }
    for (std::size_t id = 0; id < count; ++id)
      if (!owner[id]) refuse("the id {} has no token, though there are ids up to {}", id, count - 1);
  }

  std::int32_t piece_id(const std::string& piece, std::size_t index) const {
    const auto found = ids_.find(piece);
    if (found == ids_.end())
      refuse("merge {} names '{}', which is not in the vocabulary", index, printable(piece));
    return found->second;
  }

  void read_merges(const Json& model) {
    const Json& list = list_of(model, "merges");
    if (list.size() > max_merges) refuse("{} merges, at most {} are read", list.size(), max_merges);
    parts_.model.merges.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::string left, right;
      if (list[i].is_string()) {
        const std::string& text = list[i].get_ref<const std::string&>();
        const std::size_t space = text.find(' ');
        if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
          refuse("merge {} is '{}': wanted two pieces and a space", i, printable(text.substr(0, 80)));
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (list[i].is_array() && list[i].size() == 2 && list[i][0].is_string() &&
                 list[i][1].is_string()) {
        left = list[i][0].get<std::string>();
        right = list[i][1].get<std::string>();
      } else {
        refuse("merge {} is not a pair of pieces", i);
      }
      if (left.empty() || right.empty()) refuse("merge {} has an empty piece", i);
      parts_.model.merges.push_back(
          {piece_id(left, i), piece_id(right, i), piece_id(left + right, i), static_cast<std::uint32_t>(i)});
    }
  }

  TextPattern pattern(const Json& item) const {
    const Json* value = member(item, "pattern");
    if (value && value->is_object() && value->size() == 1) {
      if (const Json* regex = member(*value, "Regex"); regex && regex->is_string())
        return SplitRegex(regex->get<std::string>());
      if (const Json* text = member(*value, "String");
          text && text->is_string() && !text->get<std::string>().empty())
        return text->get<std::string>();
    }
    refuse("a pattern must be {{\"String\": text}} or {{\"Regex\": pattern}}");
  }

  void normalizer(const Json& item) {
    const std::string type = type_of(item, "normalizer");
    if (type == "Sequence") {
      for (const Json& part : list_of(item, "normalizers")) normalizer(part);
    } else if (type == "Prepend") {
      parts_.normalizer.add(PrependStep{json_string(item, "prepend", where_)});
    } else if (type == "Replace") {
      parts_.normalizer.add(ReplaceStep{pattern(item), json_string(item, "content", where_)});
    } else if (type == "NFC") {
      parts_.normalizer.add(NfcStep{});
    } else {
      refuse("the normalizer {} is not supported (supported: Sequence, Prepend, Replace, NFC)",
             printable(type));
    }
  }

  void pre_tokenizer(const Json& item) {
    const std::string type = type_of(item, "pre_tokenizer");
    if (byte_level_) refuse("a pre_tokenizer {} behind ByteLevel is not supported", printable(type));
    if (type == "Sequence") {
      for (const Json& part : list_of(item, "pretokenizers")) pre_tokenizer(part);
    } else if (type == "Split") {
      parts_.pre_tokenizer.add(
          SplitStep{pattern(item), behavior(item), json_bool(item, "invert", where_, false)});
    } else if (type == "Digits") {
      parts_.pre_tokenizer.add(DigitsStep{json_bool(item, "individual_digits", where_, false)});
    } else if (type == "Metaspace") {
      parts_.pre_tokenizer.add(metaspace(item));
    } else if (type == "ByteLevel") {
      if (json_bool(item, "add_prefix_space", where_, true)) parts_.pre_tokenizer.add(PrefixSpaceStep{});
      if (json_bool(item, "use_regex", where_, true))
        parts_.pre_tokenizer.add(SplitStep{SplitRegex(gpt2_pattern), SplitBehavior::Isolated, false});
      byte_level_ = true;
    } else {
      refuse(
          "the pre_tokenizer {} is not supported (supported: Sequence, Split, Digits, Metaspace, ByteLevel)",
          printable(type));
    }
  }

  SplitBehavior behavior(const Json& item) const {
    const std::string name = json_string(item, "behavior", where_);
    if (name == "Removed") return SplitBehavior::Removed;
    if (name == "Isolated") return SplitBehavior::Isolated;
    if (name == "MergedWithPrevious") return SplitBehavior::MergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::MergedWithNext;
    if (name == "Contiguous") return SplitBehavior::Contiguous;
    refuse("the split behavior '{}' is unknown", printable(name));
  }

  MetaspaceStep metaspace(const Json& item) const {
    MetaspaceStep out;
    out.replacement = json_string(item, "replacement", where_);
    if (out.replacement.empty()) refuse("an empty Metaspace replacement");
    const std::string scheme = json_string(item, "prepend_scheme", where_, "always");
    out.prefix = scheme == "always"  ? MetaspaceStep::Prefix::Always
                 : scheme == "first" ? MetaspaceStep::Prefix::First
                                     : MetaspaceStep::Prefix::Never;
    if (scheme != "always" && scheme != "first" && scheme != "never")
      refuse("the prepend_scheme '{}' is unknown", printable(scheme));
    if (!json_bool(item, "add_prefix_space", where_, true)) out.prefix = MetaspaceStep::Prefix::Never;
    out.split = json_bool(item, "split", where_, true);
    return out;
  }

  void check_byte_alphabet() const {
    for (std::size_t id = 0, single = 0; id < parts_.model.tokens.size(); ++id) {
      const std::string& token = parts_.model.tokens[id];
      single += !token.empty() && token.size() <= 2 && (token.size() == 1 || (token[0] & 0xe0) == 0xc0);
      if (single >= 256) return;
    }
    refuse("byte_fallback with an incomplete byte alphabet is not supported");
  }

  void decoder(const Json& item) {
    const std::string type = type_of(item, "decoder");
    DecoderSpec& out = parts_.decoder;
    if (type == "Sequence") {
      for (const Json& part : list_of(item, "decoders")) decoder(part);
    } else if (type == "ByteLevel") {
      out.byte_level = true;
    } else if (type == "ByteFallback") {
      out.byte_fallback = true;
    } else if (type == "Fuse") {
      fused_ = true;
    } else if (type == "Replace") {
      const TextPattern from = pattern(item);
      if (!std::holds_alternative<std::string>(from))
        refuse("a decoder that replaces by a pattern is not supported");
      out.replace.emplace_back(std::get<std::string>(from), json_string(item, "content", where_));
    } else if (type == "Metaspace") {
      const MetaspaceStep meta = metaspace(item);
      out.replace.emplace_back(meta.replacement, " ");
      if (meta.prefix != MetaspaceStep::Prefix::Never) out.drop_in_first = meta.replacement;
    } else if (type == "Strip") {
      out.strip = json_string(item, "content", where_);
      out.strip_count = static_cast<int>(std::clamp<std::int64_t>(json_int(item, "start", where_), 0, 1000));
      if (!fused_ || out.strip.empty() || json_int(item, "stop", where_) != 0)
        refuse("a Strip decoder is supported behind Fuse and at the start only");
    } else {
      refuse("the decoder {} is not supported", printable(type));
    }
  }

  std::int32_t known_id(std::int64_t id, const std::string& token) const {
    std::size_t count = parts_.model.tokens.size();
    for (const AddedToken& added : parts_.added)
      count = std::max(count, static_cast<std::size_t>(added.id) + 1);
    if (id < 0 || id >= static_cast<std::int64_t>(count))
      refuse("the post_processor puts '{}' with the id {}, the vocabulary has {}", printable(token), id,
             count);
    return static_cast<std::int32_t>(id);
  }

  void post_processor(const Json& item) {
    const std::string type = type_of(item, "post_processor");
    if (type == "Sequence") {
      for (const Json& part : list_of(item, "processors")) post_processor(part);
    } else if (type == "TemplateProcessing") {
      template_processing(item);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      for (const auto& [key, side] : {std::pair{"cls", &parts_.prefix}, std::pair{"sep", &parts_.suffix}}) {
        const Json& pair = list_of(item, key);
        if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_number_integer())
          refuse("a malformed '{}'", key);
        side->push_back(known_id(pair[1].get<std::int64_t>(), pair[0].get<std::string>()));
      }
    } else if (type != "ByteLevel") {
      refuse("the post_processor {} is not supported", printable(type));
    }
  }

  void template_processing(const Json& item) {
    bool behind = false;
    for (const Json& part : list_of(item, "single")) {
      if (member(part, "Sequence")) {
        if (behind) refuse("a template that repeats the text is not supported");
        behind = true;
        continue;
      }
      const Json* special = member(part, "SpecialToken");
      if (!special) refuse("a template part is neither Sequence nor SpecialToken");
      const std::string name = json_string(*special, "id", where_);
      const Json* table = member(item, "special_tokens");
      const Json* entry = table ? member(*table, name.c_str()) : nullptr;
      if (!entry) refuse("the template names '{}', which it does not define", printable(name));
      for (const Json& id : list_of(*entry, "ids")) {
        if (!id.is_number_integer())
          refuse("the template's id of '{}' is not a whole number", printable(name));
        (behind ? parts_.suffix : parts_.prefix).push_back(known_id(id.get<std::int64_t>(), name));
      }
    }
  }

  const Json& root_;
  const std::string& where_;
  TokenizerParts parts_;
  std::unordered_map<std::string, std::int32_t> ids_;
  bool byte_level_ = false, fused_ = false;
};

}  // namespace

TokenizerParts read_tokenizer_json(std::string_view bytes, const std::string& where) {
  // A flood of values is cheaper to count than to parse.
  const auto commas = static_cast<std::size_t>(std::count(bytes.begin(), bytes.end(), ','));
  LACUNA_CHECK(commas <= max_json_values, ErrorKind::BadInput, "{}: more than {} values", where,
               max_json_values);
  const Json root = parse_json(bytes, where, {.max_values = max_json_values});
  return Reader(root, where).read();
}

}  // namespace lacuna
