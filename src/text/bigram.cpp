#include "src/text/bigram.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace lacuna {
namespace {

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

Bigram::Bigram(std::span<const std::int32_t> train, std::int64_t vocab_size)
    : count_(static_cast<std::size_t>(vocab_size)),
      as_left_(count_.size()),
      followers_(count_.size()),
      total_(static_cast<std::int64_t>(train.size())) {
  for (std::size_t i = 0; i < train.size(); ++i) {
    LACUNA_CHECK(train[i] >= 0 && train[i] < vocab_size, ErrorKind::BadInput,
                 "token {} has the id {}, the vocabulary has {}", i, train[i], vocab_size);
    ++count_[static_cast<std::size_t>(train[i])];
    if (i == 0) continue;
    const auto left = static_cast<std::size_t>(train[i - 1]);
    std::int64_t& pair = pairs_[key_of(train[i - 1], train[i])];
    if (pair++ == 0) ++followers_[left];
    ++as_left_[left];
  }
}

double Bigram::probability(std::int32_t before, std::int32_t token) const {
  const auto left = static_cast<std::size_t>(before), right = static_cast<std::size_t>(token);
  LACUNA_CHECK(left < count_.size() && right < count_.size(), ErrorKind::BadInput,
               "token ids {} and {}, the vocabulary has {}", before, token, count_.size());
  const double single = (static_cast<double>(count_[right]) + 1.0) /
                        (static_cast<double>(total_) + static_cast<double>(count_.size()));
  if (as_left_[left] == 0) return single;
  const auto seen = static_cast<double>(as_left_[left]);
  const std::int64_t* pair = pairs_.find(key_of(before, token));
  const double direct = pair ? std::max(static_cast<double>(*pair) - discount, 0.0) / seen : 0.0;
  return direct + discount * static_cast<double>(followers_[left]) / seen * single;
}

BigramScore Bigram::score(std::span<const std::int32_t> ids, std::int64_t window) const {
  LACUNA_CHECK(window >= 2, ErrorKind::Usage, "a window of {} tokens predicts nothing: wanted at least 2",
               window);
  BigramScore out;
  out.windows = static_cast<std::int64_t>(ids.size()) / window;
  LACUNA_CHECK(out.windows > 0, ErrorKind::BadInput, "{} tokens do not fill one window of {}", ids.size(),
               window);
  double sum = 0;
  for (std::int64_t first = 0; first < out.windows * window; first += window)
    for (std::int64_t i = first + 1; i < first + window; ++i)
      sum -= std::log(probability(ids[static_cast<std::size_t>(i - 1)], ids[static_cast<std::size_t>(i)]));
  out.predicted = out.windows * (window - 1);
  out.nll = sum / static_cast<double>(out.predicted);
  out.ppl = std::exp(out.nll);
  return out;
}

}  // namespace lacuna
