#include "src/base/fields.h"

#include <charconv>
#include <cmath>

#include "src/base/file.h"

namespace lacuna {
namespace {

template <class T>
std::string shortest(T value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, end.ptr};
}

// The whole text must be the number; `what` completes "is not".
template <class T>
T parse_number(const std::string& text, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  LACUNA_CHECK(error != std::errc::result_out_of_range, ErrorKind::Usage, "'{}' is out of range",
               printable(text));
  LACUNA_CHECK(error == std::errc() && end == text.data() + text.size(), ErrorKind::Usage, "'{}' is not {}",
               printable(text), what);
  return value;
}

// Splits at commas that no backslash protects; what stands behind a backslash is itself.
std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  if (text == "\\e") return {""};
  out.emplace_back();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      out.emplace_back();
    } else {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      out.back() += text[i];
    }
  }
  return out;
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::string to_text(bool value) {
  return value ? "yes" : "no";
}
std::string to_text(int value) {
  return shortest(value);
}
std::string to_text(std::int64_t value) {
  return shortest(value);
}
std::string to_text(std::uint64_t value) {
  return shortest(value);
}
std::string to_text(double value) {
  return shortest(value);
}
std::string to_text(const std::string& value) {
  return value;
}

std::string to_text(const std::vector<std::string>& value) {
  if (value.size() == 1 && value[0].empty()) return "\\e";  // an empty text is an empty list
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (i > 0) out += ',';
    for (const char c : value[i]) {
      if (c == ',' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

std::string to_text(const std::vector<std::int64_t>& value) {
  std::string out;
  for (const std::int64_t item : value) out += (out.empty() ? "" : ",") + to_text(item);
  return out;
}

void from_text(const std::string& text, bool& value) {
  if (text == "yes" || text == "true" || text == "on" || text == "1") {
    value = true;
  } else if (text == "no" || text == "false" || text == "off" || text == "0") {
    value = false;
  } else {
    fail(ErrorKind::Usage, "'{}' is not yes or no", printable(text));
  }
}
void from_text(const std::string& text, int& value) {
  value = parse_number<int>(text, "a whole number");
}
void from_text(const std::string& text, std::int64_t& value) {
  value = parse_number<std::int64_t>(text, "a whole number");
}
void from_text(const std::string& text, std::uint64_t& value) {
  value = parse_number<std::uint64_t>(text, "a whole number that is not negative");
}
void from_text(const std::string& text, double& value) {
  const double parsed = parse_number<double>(text, "a number");
  LACUNA_CHECK(!std::isnan(parsed), ErrorKind::Usage, "'{}' is not a number", printable(text));
  value = parsed;
}
void from_text(const std::string& text, std::string& value) {
  value = text;
}
void from_text(const std::string& text, std::vector<std::string>& value) {
  value = split_list(text);
}
void from_text(const std::string& text, std::vector<std::int64_t>& value) {
  std::vector<std::int64_t> parsed;
  for (const std::string& item : split_list(text))
    parsed.push_back(parse_number<std::int64_t>(trimmed(item), "a whole number"));
  value = std::move(parsed);
}

}  // namespace lacuna
