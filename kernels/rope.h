// Rotary position embedding (arXiv 2104.09864) in the rotate-half form of Hugging Face: dimension i is paired
// with i + head_dim/2. Angles come from tables that are computed in double.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/matrix.h"

namespace lacuna {

struct RopeSettings {
  double theta = 10000;
  enum class Scaling : std::uint8_t { None, Linear, Llama3 } scaling = Scaling::None;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  double original_positions = 8192;
};

// Angular frequency of each of the head_dim/2 pairs, in radians per position, scaling applied.
std::vector<double> rope_frequencies(const RopeSettings& settings, std::int64_t head_dim);

// cos and sin [positions][head_dim/2].
struct RopeTable {
  std::int64_t half = 0;
  std::vector<float> cosine, sine;
  std::int64_t positions() const { return half == 0 ? 0 : static_cast<std::int64_t>(cosine.size()) / half; }
};
RopeTable rope_table(const RopeSettings& settings, std::int64_t head_dim, std::int64_t positions);

// Rotates every head of x [tokens, heads·head_dim] in place; token t has position first_position + t.
// Error(Internal) when a position lies beyond the table or the width is not whole heads.
void rope(const RopeTable& table, std::int64_t first_position, Rows x);

void rope_ref(const RopeSettings& settings, std::int64_t head_dim, std::int64_t first_position,
              std::int64_t tokens, std::int64_t heads, double* x);

}  // namespace lacuna
