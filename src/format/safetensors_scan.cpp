#include "src/format/safetensors_scan.h"

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna::detail {

namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

bool valid_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at < end) {
    if (*at < 0x80) {
      ++at;
      continue;
    }
    const int length = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
    if (*at < 0xc2 || *at > 0xf4 || end - at < length) return false;
    std::uint32_t code = *at & (0xff >> (length + 1));
    for (int i = 1; i < length; ++i) {
      if ((at[i] & 0xc0) != 0x80) return false;
      code = (code << 6) | (at[i] & 0x3f);
    }
    const std::uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    at += length;
  }
  return true;
}

void HeaderScanner::refuse(const std::string& rule) const {
  fail(ErrorKind::BadInput, "{}: header byte {}: {}", where_, at_, rule);
}

void HeaderScanner::skip_space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
    ++at_;
}

bool HeaderScanner::accept(char wanted) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != wanted) return false;
  ++at_;
  return true;
}

void HeaderScanner::expect(char wanted, const char* what) {
  if (accept(wanted)) return;
  if (at_ >= text_.size()) refuse(fmt::format("the JSON ends where {} should follow", what));
  refuse(fmt::format("wanted {}, found '{}'", what, printable(text_.substr(at_, 1))));
}

std::uint32_t HeaderScanner::hex4() {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) refuse("\\u wants four hexadecimal digits");
    value = value * 16 + static_cast<std::uint32_t>(digit);
    ++at_;
  }
  return value;
}

void HeaderScanner::escape(std::string& out) {
  const char kind = at_ < text_.size() ? text_[at_++] : '\0';
  switch (kind) {
    case '"':
    case '\\':
    case '/':
      out += kind;
      return;
    case 'b':
      out += '\b';
      return;
    case 'f':
      out += '\f';
      return;
    case 'n':
      out += '\n';
      return;
    case 'r':
      out += '\r';
      return;
    case 't':
      out += '\t';
      return;
    case 'u':
      break;
    default:
      refuse("unknown escape in a string");
  }
  std::uint32_t code = hex4();
  if (code >= 0xd800 && code < 0xdc00) {
    if (text_.substr(at_, 2) != "\\u") refuse("half of a surrogate pair");
    at_ += 2;
    const std::uint32_t low = hex4();
    if (low < 0xdc00 || low > 0xdfff) refuse("half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code < 0xe000) {
    refuse("half of a surrogate pair");
  }
  append_utf8(out, code);
}

std::string HeaderScanner::string(std::size_t max_bytes, const char* what) {
  if (!accept('"')) expect('"', fmt::format("a string ({})", what).c_str());
  std::string out;
  while (true) {
    if (at_ >= text_.size()) refuse(fmt::format("the JSON ends inside a string ({})", what));
    const char c = text_[at_++];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) refuse(fmt::format("control character in a string ({})", what));
    if (c == '\\') {
      escape(out);
    } else {
      out += c;
    }
    if (out.size() > max_bytes) refuse(fmt::format("{} is longer than {} bytes", what, max_bytes));
  }
  if (!valid_utf8(out)) refuse(fmt::format("invalid UTF-8 in {}", what));
  return out;
}

std::int64_t HeaderScanner::whole_number(std::int64_t max, const char* what) {
  skip_space();
  const std::size_t first = at_;
  std::int64_t value = 0;
  bool too_big = false;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
    const int digit = text_[at_++] - '0';
    too_big = too_big || value > (max - digit) / 10;
    if (!too_big) value = value * 10 + digit;
  }
  const char next = at_ < text_.size() ? text_[at_] : ' ';
  if (at_ == first) refuse(fmt::format("{} must be a whole number, found '{}'", what, printable({&next, 1})));
  if (next == '.' || next == 'e' || next == 'E') refuse(fmt::format("{} has a fraction or exponent", what));
  if (text_[first] == '0' && at_ - first > 1) refuse(fmt::format("{} starts with 0", what));
  if (too_big)
    refuse(fmt::format("{} is {}, above {}", what,
                       text_.substr(first, std::min<std::size_t>(at_ - first, 40)), max));
  return value;
}

void HeaderScanner::finish() {
  for (; at_ < text_.size(); ++at_)
    if (text_[at_] != ' ') refuse("something follows the header's closing brace");
}

}  // namespace lacuna::detail
