// UTF-8: stepping, writing, and the one way in which invalid bytes are treated everywhere: each maximal
// ill-formed part becomes U+FFFD (Unicode 3.9, as WHATWG, Rust and Python's errors="replace" do).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lacuna {

inline constexpr std::string_view replacement_character = "\xef\xbf\xbd";

enum class Utf8State : std::uint8_t { Valid, Invalid, Truncated };  // Truncated: the text ends too early
struct Utf8Step {
  std::size_t length;  // bytes of the sequence, or of the maximal ill-formed part; at least 1
  Utf8State state;
};
// Looks at the sequence that starts at `at` < text.size().
Utf8Step utf8_step(std::string_view text, std::size_t at);

bool is_utf8(std::string_view text);
std::string to_valid_utf8(std::string_view text);

// Reads the code point at `at` of valid UTF-8 and moves `at` behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]); };
  const std::uint8_t head = byte(0);
  char32_t code = head;
  std::size_t length = 1;
  if (head >= 0xf0) {
    code =
        static_cast<char32_t>((head & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63));
    length = 4;
  } else if (head >= 0xe0) {
    code = static_cast<char32_t>((head & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63));
    length = 3;
  } else if (head >= 0x80) {
    code = static_cast<char32_t>((head & 31) << 6 | (byte(1) & 63));
    length = 2;
  }
  at += length;
  return code;
}

// Bytes of the sequence that `head` starts, for valid UTF-8.
inline std::size_t utf8_length(char head) {
  const auto byte = static_cast<std::uint8_t>(head);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

// Where the code point that ends before `at` > 0 begins, for valid UTF-8.
inline std::size_t previous_code_point(std::string_view text, std::size_t at) {
  do --at;
  while ((static_cast<std::uint8_t>(text[at]) & 0xc0) == 0x80);
  return at;
}

void append_utf8(std::string& out, char32_t code);

}  // namespace lacuna
