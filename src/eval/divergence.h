// How far a model's next-token distributions have moved from its parent's, over the windows of perplexity.h.
#pragma once

#include <cstdint>
#include <span>

#include "src/eval/perplexity.h"

namespace lacuna {

struct Divergence {
  double kl = 0;         // mean over predictions of sum p·log(p/q), p the parent's, q the model's; nats
  double same_top1 = 0;  // share of predictions whose likeliest token is the same
  std::int64_t predicted = 0;
};

// KL(p || q) of two rows of logits, in fp64.
double row_divergence(std::span<const float> parent, std::span<const float> model);

// Both engines score the same windows. Error(BadInput) when their vocabularies differ in size.
Divergence divergence(Engine& parent, Engine& model, std::span<const std::int32_t> ids,
                      const PerplexityOptions& options);

}  // namespace lacuna
