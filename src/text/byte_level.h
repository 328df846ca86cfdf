// The byte alphabet of byte-level BPE: every byte has a printable character (33-126, 161-172 and 174-255
// stand for themselves, the others for U+0100 on in order). Radford et al. 2019, section 2.2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lacuna {

// The character of a byte, as UTF-8.
const std::string& byte_character(std::uint8_t byte);
// The bytes that a text in this alphabet stands for; nothing when it holds a character outside the alphabet.
std::optional<std::string> bytes_of_characters(std::string_view text);

}  // namespace lacuna
