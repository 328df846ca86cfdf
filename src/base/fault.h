// Named places where a test makes a rank fail, so that every step of a protocol can be interrupted:
//   LACUNA_FAULT=<point>:<rank>:<kind>[:<step>]     kind: kill (SIGKILL), stop (SIGSTOP), fail (an error)
// Nothing happens while the variable is unset.
#pragma once

#include <cstdint>

namespace lacuna {

// Throws Error(Storage) for the kind `fail`; Error(Usage) when the variable cannot be read.
void fault_point(const char* point, int rank, std::int64_t step = -1);

}  // namespace lacuna
