// JSON from files that we did not write: bounded depth and size, duplicate keys refused (also when they
// differ only by escapes), invalid UTF-8 refused, no recursion on input. Errors are Error(BadInput), one
// line: where, position, rule, found.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lacuna {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  std::size_t max_bytes = 100'000'000;
  int max_depth = 64;
  std::size_t max_string = 1 << 20;
  std::size_t max_values = 20'000'000;  // 16 bytes each once parsed
  bool must_start_with_brace = false;   // safetensors headers
};

// `where` names the file (and the place in it) in errors.
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});

// Typed look-ups that name the path in the error: required and with a default (also for null). Numbers that
// are not whole, or beyond 2^53 in a double, are refused for integers.
std::int64_t json_int(const Json& object, const char* key, const std::string& where);
std::int64_t json_int(const Json& object, const char* key, const std::string& where, std::int64_t otherwise);
double json_double(const Json& object, const char* key, const std::string& where, double otherwise);
bool json_bool(const Json& object, const char* key, const std::string& where, bool otherwise);
std::string json_string(const Json& object, const char* key, const std::string& where);
std::string json_string(const Json& object, const char* key, const std::string& where,
                        const std::string& otherwise);

}  // namespace lacuna
