#include "src/text/utf8.h"

#include <cstring>

namespace lacuna {

Utf8Step utf8_step(std::string_view text, std::size_t at) {
  const auto head = static_cast<std::uint8_t>(text[at]);
  if (head < 0x80) return {1, Utf8State::Valid};
  // Length of the sequence, and the range of its second byte (Unicode table 3-7).
  std::size_t length = 0;
  std::uint8_t low = 0x80, high = 0xbf;
  if (head >= 0xc2 && head <= 0xdf) {
    length = 2;
  } else if (head >= 0xe0 && head <= 0xef) {
    length = 3;
    if (head == 0xe0) low = 0xa0;
    if (head == 0xed) high = 0x9f;
  } else if (head >= 0xf0 && head <= 0xf4) {
    length = 4;
    if (head == 0xf0) low = 0x90;
    if (head == 0xf4) high = 0x8f;
  } else {
    return {1, Utf8State::Invalid};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {i, Utf8State::Truncated};
    const auto byte = static_cast<std::uint8_t>(text[at + i]);
    if (byte < low || byte > high) return {i, Utf8State::Invalid};
    low = 0x80;
    high = 0xbf;
  }
  return {length, Utf8State::Valid};
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t eight = 0;
    if (at + 8 <= text.size()) {
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080ull) == 0) {
        at += 8;
        continue;
      }
    }
    const Utf8Step step = utf8_step(text, at);
    if (step.state != Utf8State::Valid) return false;
    at += step.length;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text, at);
    out += step.state == Utf8State::Valid ? text.substr(at, step.length) : replacement_character;
    at += step.length;
  }
  return out;
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 63));
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  }
}

}  // namespace lacuna
