#include "launch/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "src/base/error.h"
#include "src/base/json.h"

namespace lacuna {

std::string json_text(const Json& object, const char* schema) {
  LACUNA_ASSERT(object.is_object());
  Json out = Json::object();
  out["schema"] = schema;
  for (const auto& [key, value] : object.items())
    if (key != "schema") out[key] = value;
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void print_text(const std::string& text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  LACUNA_CHECK(written, ErrorKind::Storage, "cannot write to stdout: {}", std::strerror(errno));
}

void print_json(const Json& object, const char* schema) {
  print_text(json_text(object, schema) + "\n");
}

}  // namespace lacuna
