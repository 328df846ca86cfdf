#include "src/base/json.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

// Longer texts are cut in messages.
std::string shown(std::string_view text) {
  return text.size() <= 60 ? printable(text) : printable(text.substr(0, 57)) + "...";
}

// Input iterator that tells the handler how far the parser has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  CountingIterator(const char* at, const char** seen) : at_(at), seen_(seen) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *seen_ = ++at_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** seen_;
};

// Builds the document from parser events with an own stack. Members go to the end of the object's list
// without the look-up of ordered_map (quadratic for a vocabulary); duplicates are found once, at the closing
// brace.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Builder(std::string_view text, const std::string& where, const JsonLimits& limits)
      : begin_(text.data()), seen_(text.data()), where_(where), limits_(limits) {}

  const char** seen() { return &seen_; }
  Json take() { return std::move(root_); }

  bool null() { return value(nullptr); }
  bool boolean(bool flag) { return value(flag); }
  bool number_integer(number_integer_t number) { return value(number); }
  bool number_unsigned(number_unsigned_t number) { return value(number); }
  bool number_float(number_float_t number, const string_t&) { return value(number); }
  bool string(string_t& text) {
    check_length(text);
    return value(std::move(text));
  }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool key(string_t& text) {
    check_length(text);
    key_ = std::move(text);
    return true;
  }
  bool end_object() {
    refuse_duplicates(stack_.back()->get_ref<const Json::object_t&>());
    stack_.pop_back();
    return true;
  }
  bool end_array() {
    stack_.pop_back();
    return true;
  }
  bool parse_error(std::size_t, const std::string& token, const nlohmann::detail::exception& error) {
    // The library's text is "[json.exception.parse_error.101] parse error at line ...: <rule>".
    std::string rule = error.what();
    const std::size_t last = rule.rfind("; last read:");
    if (last != std::string::npos) rule.resize(last);
    for (const char* prefix : {"] ", "syntax error ", "parse error "}) {
      const std::size_t at = rule.find(prefix);
      if (at != std::string::npos) rule.erase(0, at + std::string_view(prefix).size());
    }
    refuse("not valid JSON: {}, found '{}'", shown_rule(rule), shown(token));
  }

 private:
  // The rule is the library's own wording and may quote input: keep one line of it.
  static std::string shown_rule(const std::string& rule) { return printable(rule.substr(0, 200)); }

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::BadInput, "{}: at byte {}: {}", where_, seen_ - begin_,
         fmt::format(format, std::forward<Args>(args)...));
  }
  void check_length(const string_t& text) const {
    if (text.size() > limits_.max_string)
      refuse("a string of {} bytes, at most {} are read", text.size(), limits_.max_string);
  }
  Json* add(Json&& item) {
    if (++values_ > limits_.max_values) refuse("more than {} values", limits_.max_values);
    if (stack_.empty()) {
      root_ = std::move(item);
      return &root_;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      auto& list = parent.get_ref<Json::array_t&>();
      list.push_back(std::move(item));
      return &list.back();
    }
    auto& members = parent.get_ref<Json::object_t&>();
    members.emplace_back(std::move(key_), std::move(item));
    return &members.back().second;
  }
  bool value(Json&& item) {
    add(std::move(item));
    return true;
  }
  bool open(Json&& container) {
    if (static_cast<int>(stack_.size()) >= limits_.max_depth)
      refuse("nested deeper than {} levels", limits_.max_depth);
    stack_.push_back(add(std::move(container)));
    return true;
  }
  void refuse_duplicates(const Json::object_t& members) const {
    if (members.size() < 2) return;
    std::vector<const std::string*> keys;
    keys.reserve(members.size());
    for (const auto& member : members) keys.push_back(&member.first);
    std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
    const auto twice =
        std::adjacent_find(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a == *b; });
    if (twice != keys.end()) refuse("the key '{}' stands twice in one object", shown(**twice));
  }

  const char* begin_;
  const char* seen_;
  const std::string& where_;
  const JsonLimits& limits_;
  Json root_;
  std::vector<Json*> stack_;  // open containers; a pointer stays valid because only the innermost one grows
  std::string key_;
  std::size_t values_ = 0;
};

const Json* find(const Json& object, const char* key, const std::string& where) {
  LACUNA_CHECK(object.is_object(), ErrorKind::BadInput, "{}: wanted an object with '{}', found {}", where,
               key, object.type_name());
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

const Json& require(const Json& object, const char* key, const std::string& where) {
  const Json* found = find(object, key, where);
  LACUNA_CHECK(found, ErrorKind::BadInput, "{}: '{}' is missing", where, key);
  return *found;
}

[[noreturn]] void wrong(const Json& value, const char* key, const std::string& where, const char* wanted) {
  fail(ErrorKind::BadInput, "{}: '{}' must be {}, found {}", where, key, wanted,
       value.is_structured() ? value.type_name() : shown(value.dump()));
}

std::int64_t to_int(const Json& value, const char* key, const std::string& where) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number <= static_cast<std::uint64_t>(INT64_MAX)) return static_cast<std::int64_t>(number);
  } else if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  } else if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::trunc(number) == number && std::abs(number) <= 0x1p53) return static_cast<std::int64_t>(number);
  }
  wrong(value, key, where, "a whole number");
}

std::string to_string(const Json& value, const char* key, const std::string& where) {
  if (!value.is_string()) wrong(value, key, where, "a string");
  return value.get<std::string>();
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  LACUNA_CHECK(text.size() <= limits.max_bytes, ErrorKind::BadInput,
               "{}: JSON of {} bytes, at most {} are read", where, text.size(), limits.max_bytes);
  LACUNA_CHECK(!limits.must_start_with_brace || (!text.empty() && text[0] == '{'), ErrorKind::BadInput,
               "{}: at byte 0: wanted '{{', found '{}'", where, shown(text.substr(0, 1)));
  // The parser takes a NUL for the end of its input; what stands behind it must not pass unseen.
  LACUNA_CHECK(text.find('\0') == std::string_view::npos, ErrorKind::BadInput,
               "{}: at byte {}: not valid JSON: a NUL byte", where, text.find('\0'));
  Builder builder(text, where, limits);
  const CountingIterator first(text.data(), builder.seen()), last(text.data() + text.size(), builder.seen());
  LACUNA_CHECK(Json::sax_parse(first, last, &builder), ErrorKind::BadInput, "{}: not valid JSON", where);
  return builder.take();
}

std::int64_t json_int(const Json& object, const char* key, const std::string& where) {
  return to_int(require(object, key, where), key, where);
}
std::int64_t json_int(const Json& object, const char* key, const std::string& where, std::int64_t otherwise) {
  const Json* found = find(object, key, where);
  return found && !found->is_null() ? to_int(*found, key, where) : otherwise;
}
double json_double(const Json& object, const char* key, const std::string& where, double otherwise) {
  const Json* found = find(object, key, where);
  if (!found || found->is_null()) return otherwise;
  if (!found->is_number()) wrong(*found, key, where, "a number");
  return found->get<double>();
}
bool json_bool(const Json& object, const char* key, const std::string& where, bool otherwise) {
  const Json* found = find(object, key, where);
  if (!found || found->is_null()) return otherwise;
  if (!found->is_boolean()) wrong(*found, key, where, "true or false");
  return found->get<bool>();
}
std::string json_string(const Json& object, const char* key, const std::string& where) {
  return to_string(require(object, key, where), key, where);
}
std::string json_string(const Json& object, const char* key, const std::string& where,
                        const std::string& otherwise) {
  const Json* found = find(object, key, where);
  return found && !found->is_null() ? to_string(*found, key, where) : otherwise;
}

}  // namespace lacuna
