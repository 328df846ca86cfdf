// Rotary position embedding in the rotate-half form of LLaMA checkpoints (arXiv 2104.09864): elements i and
// i + d/2 of a head are a pair, turned by position · frequency_i. Angles are made in double.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <vector>

#include "src/arch/model_config.h"

namespace lacuna {

// Radians per position of each of the head_dim/2 pairs, with the configuration's scaling: `linear` divides
// all by the factor, `llama3` only the slow ones, with a smooth passage between (Llama 3.1's rule).
std::vector<double> rope_frequencies(const ModelConfig& config);

class RopeTable {
 public:
  RopeTable(const ModelConfig& config, std::int64_t seq_len, at::ScalarType compute,
            at::Device device = at::kCPU);
  // In place on query and key [tokens, heads·head_dim]; token t stands at position t mod seq_len.
  void rotate(const at::Tensor& query, const at::Tensor& key) const;
  // The transpose, a gradient's way back. CUDA: reads from `query_from` and `key_from` where they are
  // defined.
  void rotate_back(const at::Tensor& query, const at::Tensor& key, const at::Tensor& query_from = {},
                   const at::Tensor& key_from = {}) const;

 private:
  std::int64_t seq_len_, half_;
  at::Tensor cos_, sin_, minus_sin_;  // [seq_len, head_dim/2], accumulation type
};

}  // namespace lacuna
