// INI text and back, exactly. A value stands bare, or in double quotes with \" \\ \n \r \t and \xHH. Behind a
// bare value a blank and '#' or ';' start a comment, so to_ini quotes what holds either.
#include <string_view>

#include "src/base/fields.h"
#include "src/base/file.h"

namespace lacuna {
namespace {

bool blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool needs_quotes(const std::string& value) {
  if (value.empty() || blank(value.front()) || blank(value.back())) return true;
  for (const char c : value)
    if (c == '#' || c == ';' || c == '"' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  return false;
}

std::string quoted(const std::string& value) {
  std::string out = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Where a line is read: names file and line in every error.
struct Place {
  const std::string& where;
  int line;
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::Usage, "{}:{}: {}", where, line, fmt::format(format, std::forward<Args>(args)...));
  }
};

bool starts_comment(std::string_view text) {
  return !text.empty() && (text[0] == '#' || text[0] == ';');
}

std::string read_quoted(std::string_view text, const Place& place) {
  std::string out;
  std::size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char code = ++i < text.size() ? text[i] : '\0';
    if (code == '"' || code == '\\') {
      out += code;
    } else if (code == 'n' || code == 'r' || code == 't') {
      out += code == 'n' ? '\n' : code == 'r' ? '\r' : '\t';
    } else if (code == 'x' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
               hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      place.refuse("unknown escape in {}", printable(text));
    }
  }
  if (i >= text.size()) place.refuse("no closing quote in {}", printable(text));
  const std::string_view rest = trim(text.substr(i + 1));
  if (!rest.empty() && !starts_comment(rest)) place.refuse("'{}' behind a quoted value", printable(rest));
  return out;
}

std::string read_value(std::string_view text, const Place& place) {
  if (!text.empty() && text[0] == '"') return read_quoted(text, place);
  if (starts_comment(text)) return "";
  for (std::size_t i = 1; i < text.size(); ++i)
    if (starts_comment(text.substr(i)) && blank(text[i - 1])) return std::string(trim(text.substr(0, i)));
  return std::string(text);
}

}  // namespace

std::string to_ini(const std::vector<FieldRef>& fields, bool with_help) {
  std::string out, section;
  for (const FieldRef& field : fields) {
    const std::size_t dot = field.name.find('.');
    LACUNA_ASSERT(dot != std::string::npos && dot > 0);
    if (field.name.substr(0, dot) != section) {
      section = field.name.substr(0, dot);
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    if (with_help && !field.help.empty()) out += fmt::format("# {}\n", field.help);
    const std::string value = field.get();
    out += fmt::format("{} = {}\n", field.name.substr(dot + 1), needs_quotes(value) ? quoted(value) : value);
  }
  return out;
}

std::vector<IniEntry> read_ini(const std::string& text, const std::string& where) {
  std::vector<IniEntry> out;
  std::string section;
  std::string_view rest = text;
  if (rest.substr(0, 3) == "\xef\xbb\xbf") rest.remove_prefix(3);
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    line = trim(line);
    const Place place{where, line_number};
    if (line.empty() || starts_comment(line)) continue;
    if (line[0] == '[') {
      const std::size_t close = line.find(']');
      if (close == std::string_view::npos) place.refuse("no closing ] in {}", printable(line));
      const std::string_view behind = trim(line.substr(close + 1));
      if (!behind.empty() && !starts_comment(behind))
        place.refuse("'{}' behind a section", printable(behind));
      section = trim(line.substr(1, close - 1));
      if (section.empty()) place.refuse("a section without a name");
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) place.refuse("'{}' is not key = value", printable(line));
    const std::string key(trim(line.substr(0, equals)));
    if (key.empty()) place.refuse("no key before = in '{}'", printable(line));
    out.push_back({section.empty() ? key : section + "." + key,
                   read_value(trim(line.substr(equals + 1)), place), line_number});
  }
  return out;
}

}  // namespace lacuna
