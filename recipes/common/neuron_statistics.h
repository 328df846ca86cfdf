// What the neurons of one FFN did on calibration tokens, in one pass over their inputs. Rates are those of
// CMoE's activation profile (arXiv 2502.04416v3, §4.1): a neuron is marked where its |h| is among the token's
// K_a largest.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "recipes/common/ffn_weights.h"

namespace lacuna {

struct NeuronStatistics {
  std::int64_t tokens = 0, top = 0;  // top: K_a
  at::Tensor top_neurons;            // [tokens, top] I32: each token's marked neurons, ascending
  at::Tensor counts;                 // [neurons] I64: tokens that mark the neuron
  at::Tensor mean, second;           // [neurons] F64: E[h], E[h²]
  at::Tensor peak;                   // [neurons] F64: max |h|·max|column of down|, the largest output
  at::Tensor input_mean;             // [hidden] F64
  at::Tensor input_second;           // [hidden, hidden] F64: E[x xᵀ]
  double rate(std::int64_t neuron) const;
};

// `unit`: as published code does it, from inputs and rows of gate and up scaled to length 1; the
// moments then are of these products.
NeuronStatistics neuron_statistics(const FfnWeights& ffn, const at::Tensor& inputs, std::int64_t top,
                                   bool unit = false);

// 1 where a token marks a neuron, else 0: [neurons of `list`, tokens] F32 on the CPU.
at::Tensor marks_of(const NeuronStatistics& statistics, const std::vector<std::int32_t>& list);

// Tokens that mark both neurons, [rows, cols] I64, for two lists of neurons.
at::Tensor coactivation(const NeuronStatistics& statistics, const std::vector<std::int32_t>& rows,
                        const std::vector<std::int32_t>& cols);

// The weights with rows of gate and up scaled to length 1.
FfnWeights with_unit_rows(const FfnWeights& ffn);

}  // namespace lacuna
