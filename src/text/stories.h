// Deterministic stories for demonstrations and tests: a small world in which people find, carry, hide, give
// and ask for things, told in sentences whose words can only be foretold by who remembers what happened
// before. A story is a pure function of (seed, number).
#pragma once

#include <cstdint>
#include <string>

namespace lacuna {

// One story of about 600 bytes, ASCII, one paragraph a line, without a line end.
std::string story(std::uint64_t seed, std::uint64_t number);

// Stories 0, 1, ... each followed by `separator`, until there are at least `bytes` bytes.
std::string stories(std::uint64_t seed, std::uint64_t bytes, const std::string& separator = "\n\n");

}  // namespace lacuna
