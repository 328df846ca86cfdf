#include "src/base/fault.h"

#include <signal.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "src/base/error.h"
#include "src/base/fields.h"

namespace lacuna {

namespace {

std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ':')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

}  // namespace

void fault_point(const char* point, int rank, std::int64_t step) {
  const char* text = std::getenv("LACUNA_FAULT");
  if (text == nullptr || *text == '\0') return;
  const std::vector<std::string> parts = parts_of(text);
  LACUNA_CHECK(parts.size() == 3 || parts.size() == 4, ErrorKind::Usage,
               "LACUNA_FAULT '{}': wanted <point>:<rank>:<kind>[:<step>]", text);
  int fault_rank = 0;
  from_text(parts[1], fault_rank);
  std::int64_t fault_step = step;
  if (parts.size() == 4) from_text(parts[3], fault_step);
  const std::string& kind = parts[2];
  LACUNA_CHECK(kind == "kill" || kind == "stop" || kind == "fail", ErrorKind::Usage,
               "LACUNA_FAULT: kind '{}'; kill, stop and fail exist", kind);
  if (parts[0] != point || fault_rank != rank || fault_step != step) return;
  if (kind == "kill") raise(SIGKILL);
  if (kind == "stop") raise(SIGSTOP);
  if (kind == "fail") fail(ErrorKind::Storage, "failure on request at point '{}'", point);
}

}  // namespace lacuna
