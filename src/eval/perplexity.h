// Perplexity of a text: encoded once without special tokens, cut into windows of W tokens from the start, the
// tail dropped, each window scored alone on its W - 1 predictions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/infer/engine.h"
#include "src/text/tokenizer.h"

namespace lacuna {

struct Perplexity {
  double nll = 0;              // mean over predictions, nats
  double ppl = 0;              // exp(nll)
  std::int64_t predicted = 0;  // predictions scored
  std::int64_t windows = 0;
  std::int64_t tokens = 0;  // of the whole text
  double ffn_sparsity = 0;  // exact zeros of the FFN product, share over layers and tokens
  std::vector<double> ffn_sparsity_per_layer;
};

struct PerplexityOptions {
  std::int64_t seq_len = 0;      // W, 2 to the engine's context
  std::int64_t max_windows = 0;  // 0: all
};

struct WindowCut {
  std::int64_t length = 0, windows = 0;
};
// How many windows `tokens` tokens give. Error(Usage) for W; Error(BadInput) when there is not one.
WindowCut cut_windows(const Engine& engine, std::int64_t tokens, const PerplexityOptions& options);

// -log softmax(logits)[target] in fp64.
double token_nll(std::span<const float> logits, std::int32_t target);

// Scores windows of `ids`. Resets the engine and its statistics. Errors of cut_windows.
Perplexity perplexity(Engine& engine, std::span<const std::int32_t> ids, const PerplexityOptions& options);

// The ids of a text file as eval counts them: all of it as one string, no special tokens.
std::vector<std::int32_t> encode_file(const Tokenizer& tokenizer, const std::string& path);

}  // namespace lacuna
