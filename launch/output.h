// Results on stdout: exactly one JSON object, whole or not at all.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lacuna {

// `object` as one line with {"schema": schema} in front. Doubles read back to the same value, NaN and
// infinity become null, text that is not UTF-8 gets replacement characters. Error(Storage) when stdout does
// not take it.
void print_json(const nlohmann::ordered_json& object, const char* schema);

// What print_json writes, without the end of line.
std::string json_text(const nlohmann::ordered_json& object, const char* schema);

// Plain text on stdout, checked like the above.
void print_text(const std::string& text);

}  // namespace lacuna
