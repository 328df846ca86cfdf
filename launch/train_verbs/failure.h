// How the failure of a rank is said: in one line, with the exit code of the job.
#pragma once

#include <exception>
#include <string>

#include "src/base/error.h"

namespace lacuna {

struct Failure {
  ErrorKind kind = ErrorKind::Internal;
  std::string text;
};

// libtorch says "out of memory" in its own way, and with a page of advice.
Failure describe(const std::exception& any);

}  // namespace lacuna
