// The next token from logits: greedy, or drawn by temperature within the top-k and the nucleus (top-p, arXiv
// 1904.09751). A draw is a pure function of (seed, index), so a run can be repeated from any point.
#pragma once

#include <cstdint>
#include <span>

namespace lacuna {

struct SamplerOptions {
  double temperature = 0;  // 0: greedy
  std::int64_t top_k = 0;  // 0: all
  double top_p = 1;        // smallest set of the likeliest tokens whose probability reaches this
  std::uint64_t seed = 0;
  void check() const;  // Error(Usage)
};

// Greedy takes the lowest id among equals. Error(Numeric) when a logit is NaN or all are -infinity.
std::int32_t sample(std::span<const float> logits, const SamplerOptions& options, std::uint64_t index);

}  // namespace lacuna
