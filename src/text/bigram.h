// The perplexity of a bigram model of tokens: what a language model must beat by far to have learned anything
// beyond neighbours. Interpolated absolute discounting (Ney, Essen, Kneser 1994) over add-one unigrams.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/text/flat_map.h"

namespace lacuna {

struct BigramScore {
  double nll = 0;  // mean, in nats
  double ppl = 0;  // exp(nll)
  std::int64_t predicted = 0, windows = 0;
};

class Bigram {
 public:
  // Counts the pairs of `train`; ids must lie in [0, vocab_size), Error(BadInput) otherwise.
  Bigram(std::span<const std::int32_t> train, std::int64_t vocab_size);
  double probability(std::int32_t before, std::int32_t token) const;
  // As `lacuna eval` scores: floor(n / window) windows from the start, window - 1 predictions in each, the
  // tail dropped. Error(BadInput) when there is not one window.
  BigramScore score(std::span<const std::int32_t> ids, std::int64_t window) const;

 private:
  static constexpr double discount = 0.75;
  std::vector<std::int64_t> count_, as_left_,
      followers_;  // by token: occurrences, as a pair's left, kinds of right
  FlatMap<std::int64_t> pairs_;
  std::int64_t total_ = 0;
};

}  // namespace lacuna
