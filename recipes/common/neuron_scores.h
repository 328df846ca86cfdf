// Which neurons an FFN needs always: scores whose largest make a shared set, and, with no router at all, the
// controls that every routed model is measured against (static pruning). Higher is more needed.
//
//   rate    share of tokens on which |h| is among the K_a largest          CMoE, arXiv 2502.04416v3, §4.1
//   energy  E[h²]·‖d‖²                                                     output energy of the neuron
//   flap    Var[h]·‖d‖²          what a mean cannot replace                FLAP, arXiv 2312.11983
//   heapr   E[h²]·dᵀ M d         M = E[g gᵀ], g the loss's gradient of the FFN's output
//                                                                          HEAPr, arXiv 2509.22299
#pragma once

#include "recipes/common/neuron_statistics.h"

namespace lacuna {

enum class NeuronScore : std::uint8_t { Rate, Energy, Flap, Heapr };
inline constexpr NeuronScore kNeuronScores[] = {NeuronScore::Rate, NeuronScore::Energy, NeuronScore::Flap,
                                                NeuronScore::Heapr};
std::string name_of(NeuronScore score);
void from_text(const std::string& text, NeuronScore& score);  // Error(Usage) on anything else
inline std::string to_text(NeuronScore score) {
  return name_of(score);
}

// [neurons] F64 on the CPU. output_moment: M [hidden, hidden] F64, used by heapr alone; Error(Internal) when
// it is undefined there.
at::Tensor neuron_scores(NeuronScore score, const FfnWeights& ffn, const NeuronStatistics& statistics,
                         const at::Tensor& output_moment);

// Neurons in descending order of score; equal ones in ascending order.
std::vector<std::int32_t> by_score(const at::Tensor& scores);

}  // namespace lacuna
