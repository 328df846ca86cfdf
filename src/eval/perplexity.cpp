#include "src/eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {

namespace {

// Sum of the losses of one window's predictions, in order.
double window_nll(Engine& engine, std::span<const std::int32_t> window) {
  double sum = 0;
  engine.reset();
  engine.score(window.first(window.size() - 1), [&](std::int64_t first, ConstRows logits) {
    for (std::int64_t t = 0; t < logits.count; ++t)
      sum += token_nll({logits.row(t), static_cast<std::size_t>(logits.width)},
                       window[static_cast<std::size_t>(first + t + 1)]);
  });
  return sum;
}

}  // namespace

double token_nll(std::span<const float> logits, std::int32_t target) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum) - logits[static_cast<std::size_t>(target)];
}

WindowCut cut_windows(const Engine& engine, std::int64_t tokens, const PerplexityOptions& options) {
  const std::int64_t length = options.seq_len;
  LACUNA_CHECK(length >= 2, ErrorKind::Usage, "--seq-len is {}, wanted at least 2", length);
  LACUNA_CHECK(length <= engine.context(), ErrorKind::Usage,
               "--seq-len {} is beyond the model's context of {} tokens", length, engine.context());
  LACUNA_CHECK(options.max_windows >= 0, ErrorKind::Usage, "--max-windows is {}, wanted >= 0",
               options.max_windows);
  std::int64_t windows = tokens / length;
  if (options.max_windows > 0) windows = std::min(windows, options.max_windows);
  LACUNA_CHECK(windows > 0, ErrorKind::BadInput, "the text has {} tokens, fewer than one window of {}",
               tokens, length);
  return {length, windows};
}

Perplexity perplexity(Engine& engine, std::span<const std::int32_t> ids, const PerplexityOptions& options) {
  Perplexity out;
  out.tokens = static_cast<std::int64_t>(ids.size());
  const auto [length, windows] = cut_windows(engine, out.tokens, options);
  out.windows = windows;
  engine.clear_statistics();
  double sum = 0;
  for (std::int64_t window = 0; window < out.windows; ++window)
    sum += window_nll(
        engine, ids.subspan(static_cast<std::size_t>(window * length), static_cast<std::size_t>(length)));
  out.predicted = out.windows * (length - 1);
  out.nll = sum / static_cast<double>(out.predicted);
  out.ppl = std::exp(out.nll);
  const FfnStatistics& statistics = engine.statistics();
  out.ffn_sparsity = statistics.sparsity();
  for (std::size_t layer = 0; layer < statistics.layers.size(); ++layer)
    out.ffn_sparsity_per_layer.push_back(statistics.sparsity(layer));
  return out;
}

std::vector<std::int32_t> encode_file(const Tokenizer& tokenizer, const std::string& path) {
  return tokenizer.encode(read_file(path, std::size_t{1} << 32), false);
}

}  // namespace lacuna
