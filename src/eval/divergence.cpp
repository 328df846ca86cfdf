#include "src/eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/base/error.h"

namespace lacuna {

namespace {

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum);
}

std::ptrdiff_t likeliest(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

std::vector<float> next_logits(Engine& engine, std::span<const std::int32_t> tokens) {
  std::vector<float> out;
  engine.score(tokens, [&](std::int64_t, ConstRows rows) {
    for (std::int64_t t = 0; t < rows.count; ++t)
      out.insert(out.end(), rows.row(t), rows.row(t) + rows.width);
  });
  return out;
}

}  // namespace

double row_divergence(std::span<const float> parent, std::span<const float> model) {
  const double parent_total = log_sum_exp(parent), model_total = log_sum_exp(model);
  double sum = 0;
  for (std::size_t i = 0; i < parent.size(); ++i) {
    const double log_p = parent[i] - parent_total, p = std::exp(log_p);
    if (p > 0) sum += p * (log_p - (model[i] - model_total));
  }
  return sum;
}

Divergence divergence(Engine& parent, Engine& model, std::span<const std::int32_t> ids,
                      const PerplexityOptions& options) {
  constexpr std::size_t kChunk = 32;  // positions whose logits of both models are held at a time
  const std::int64_t vocab = model.config().vocab;
  LACUNA_CHECK(parent.config().vocab == vocab, ErrorKind::BadInput,
               "the parent has a vocabulary of {}, the model one of {}: they cannot be compared",
               parent.config().vocab, vocab);
  const WindowCut cut = cut_windows(model, static_cast<std::int64_t>(ids.size()), options);
  Divergence out;
  for (std::int64_t window = 0; window < cut.windows; ++window) {
    parent.reset();
    model.reset();
    std::span<const std::int32_t> rest =
        ids.subspan(static_cast<std::size_t>(window * cut.length), static_cast<std::size_t>(cut.length - 1));
    for (; !rest.empty(); rest = rest.subspan(std::min(kChunk, rest.size()))) {
      const std::span<const std::int32_t> chunk = rest.first(std::min(kChunk, rest.size()));
      const std::vector<float> p = next_logits(parent, chunk), q = next_logits(model, chunk);
      const auto width = static_cast<std::size_t>(vocab);
      for (std::size_t t = 0; t < chunk.size(); ++t) {
        const std::span<const float> row_p(p.data() + t * width, width), row_q(q.data() + t * width, width);
        out.kl += row_divergence(row_p, row_q);
        out.same_top1 += likeliest(row_p) == likeliest(row_q);
        ++out.predicted;
      }
    }
  }
  out.kl /= static_cast<double>(out.predicted);
  out.same_top1 /= static_cast<double>(out.predicted);
  return out;
}

}  // namespace lacuna
