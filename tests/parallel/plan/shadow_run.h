// Runs a table on imaginary memory, in a random one of its legal orders: every buffer knows what it holds,
// every action says what it expects there. Independent of the checker: it sees what an executor would see.
#pragma once

#include <cstdint>
#include <string>

#include "parallel/plan/schedule.h"

namespace lacuna::test {

// "" when everything ran and found what it expected, else the first thing that went wrong. duplex: an
// eviction and a load of a rank may run at the same time.
std::string shadow_run(const Schedule& schedule, std::uint64_t seed, bool duplex = false);

}  // namespace lacuna::test
