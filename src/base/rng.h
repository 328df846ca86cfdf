// Counter-based randomness: a value is a pure function of (key, index), so it does not depend on the
// number of ranks, the layout or the order of calls. Keys are made from a seed and a name.
#pragma once

#include <cstdint>
#include <string_view>

namespace lacuna {

// Key of the stream `name` under `seed`.
std::uint64_t rng_key(std::uint64_t seed, std::string_view name);

// 64 well mixed bits of draw `index` of the stream (two rounds of the splitmix64 finaliser).
constexpr std::uint64_t rng_bits(std::uint64_t key, std::uint64_t index) {
  std::uint64_t z = key + (index + 1) * 0x9e3779b97f4a7c15ull;
  for (int round = 0; round < 2; ++round) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    z += key;
  }
  return z ^ (z >> 29);
}

// Uniform in [0, 1), 53 bits.
inline double rng_uniform(std::uint64_t key, std::uint64_t index) {
  return static_cast<double>(rng_bits(key, index) >> 11) * 0x1.0p-53;
}

// Standard normal (Box-Muller on the draws 2·index and 2·index+1).
double rng_normal(std::uint64_t key, std::uint64_t index);

// Uniform integer in [0, bound), bound > 0; the bias is below 2^-32 for bounds below 2^32.
inline std::uint64_t rng_below(std::uint64_t key, std::uint64_t index, std::uint64_t bound) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(rng_bits(key, index)) * bound) >> 64);
}

}  // namespace lacuna
