#include "src/infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna {

namespace {

struct Candidate {
  std::int32_t id;
  double probability;  // not yet normalised
};

std::int32_t greedy(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Likeliest first, at most `keep`; equal logits by id.
std::vector<Candidate> candidates(std::span<const float> logits, double temperature, std::size_t keep) {
  std::vector<Candidate> out(logits.size());
  const double top = logits[static_cast<std::size_t>(greedy(logits))];
  for (std::size_t i = 0; i < logits.size(); ++i)
    out[i] = {static_cast<std::int32_t>(i), std::exp((logits[i] - top) / temperature)};
  const auto before = [&](const Candidate& a, const Candidate& b) {
    const float x = logits[static_cast<std::size_t>(a.id)], y = logits[static_cast<std::size_t>(b.id)];
    return x != y ? x > y : a.id < b.id;
  };
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(keep), out.end(), before);
  out.resize(keep);
  return out;
}

double total(const std::vector<Candidate>& list) {
  double sum = 0;
  for (const Candidate& candidate : list) sum += candidate.probability;
  return sum;
}

}  // namespace

void SamplerOptions::check() const {
  LACUNA_CHECK(std::isfinite(temperature) && temperature >= 0, ErrorKind::Usage,
               "--temperature is {}, wanted >= 0", temperature);
  LACUNA_CHECK(top_k >= 0, ErrorKind::Usage, "--top-k is {}, wanted >= 0", top_k);
  LACUNA_CHECK(top_p > 0 && top_p <= 1, ErrorKind::Usage, "--top-p is {}, wanted above 0, at most 1", top_p);
}

std::int32_t sample(std::span<const float> logits, const SamplerOptions& options, std::uint64_t index) {
  for (std::size_t i = 0; i < logits.size(); ++i)
    LACUNA_CHECK(!std::isnan(logits[i]), ErrorKind::Numeric, "the logit of token {} is NaN", i);
  const std::int32_t best = greedy(logits);
  LACUNA_CHECK(std::isfinite(logits[static_cast<std::size_t>(best)]), ErrorKind::Numeric,
               "the largest logit is {}", logits[static_cast<std::size_t>(best)]);
  if (options.temperature == 0) return best;
  const std::size_t keep =
      options.top_k > 0 ? std::min(static_cast<std::size_t>(options.top_k), logits.size()) : logits.size();
  std::vector<Candidate> list = candidates(logits, options.temperature, keep);
  if (options.top_p < 1) {
    const double reach = options.top_p * total(list);
    double sum = 0;
    std::size_t count = 0;
    while (count < list.size() && sum < reach) sum += list[count++].probability;
    list.resize(count);
  }
  double mark = rng_uniform(rng_key(options.seed, "sample"), index) * total(list);
  for (const Candidate& candidate : list) {
    mark -= candidate.probability;
    if (mark < 0) return candidate.id;
  }
  return list.back().id;
}

}  // namespace lacuna
