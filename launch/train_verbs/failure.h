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

// Exhausted memory, whose allocators each say it in their own way, is NoFit with what helps.
Failure describe(const std::exception& any);

}  // namespace lacuna
