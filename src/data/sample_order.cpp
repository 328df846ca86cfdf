#include "src/data/sample_order.h"

#include <string>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna {

SampleOrder::SampleOrder(std::int64_t windows, std::uint64_t seed) : windows_(windows), seed_(seed) {
  LACUNA_ASSERT(windows > 0);
  while ((std::int64_t{1} << (2 * half_bits_)) < windows) ++half_bits_;
}

std::int64_t SampleOrder::window(std::int64_t index) const {
  LACUNA_ASSERT(index >= 0);
  const std::int64_t epoch = index / windows_;
  const std::uint64_t key = rng_key(seed_, "order " + std::to_string(epoch));
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<std::uint64_t>(index % windows_);
  do {
    std::uint64_t left = value >> half_bits_, right = value & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const std::uint64_t mixed = left ^ (rng_bits(key, round << 32 | right) & mask);
      left = right;
      right = mixed;
    }
    value = left << half_bits_ | right;
  } while (value >= static_cast<std::uint64_t>(windows_));
  return static_cast<std::int64_t>(value);
}

}  // namespace lacuna
