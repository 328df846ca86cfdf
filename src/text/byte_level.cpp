#include "src/text/byte_level.h"

#include <array>

#include "src/text/utf8.h"

namespace lacuna {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<std::int16_t, 512> bytes;  // by code point; -1: outside the alphabet
};

const Alphabet& alphabet() {
  static const Alphabet built = [] {
    Alphabet out;
    out.bytes.fill(-1);
    char32_t further = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      const char32_t code = itself ? static_cast<char32_t>(byte) : further++;
      append_utf8(out.characters[static_cast<std::size_t>(byte)], code);
      out.bytes[code] = static_cast<std::int16_t>(byte);
    }
    return out;
  }();
  return built;
}

}  // namespace

const std::string& byte_character(std::uint8_t byte) {
  return alphabet().characters[byte];
}

std::optional<std::string> bytes_of_characters(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t code = next_code_point(text, at);
    if (code >= alphabet().bytes.size() || alphabet().bytes[code] < 0) return std::nullopt;
    out += static_cast<char>(alphabet().bytes[code]);
  }
  return out;
}

}  // namespace lacuna
