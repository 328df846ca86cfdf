#include "src/base/rng.h"

#include <cmath>
#include <numbers>

#include "src/base/hash.h"

namespace lacuna {

std::uint64_t rng_key(std::uint64_t seed, std::string_view name) {
  return rng_bits(seed, hash64(name.data(), name.size()));
}

double rng_normal(std::uint64_t key, std::uint64_t index) {
  const double u = 1.0 - rng_uniform(key, 2 * index);  // in (0, 1]: the logarithm is finite
  const double v = rng_uniform(key, 2 * index + 1);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace lacuna
