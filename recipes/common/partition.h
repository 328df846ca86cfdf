// Neurons into experts of given sizes: balanced clustering of their profiles over tokens. A Lloyd iteration
// is an exact assignment to the centres (assignment.h), then the means as new centres; the best of several
// starts stays. Deterministic for given profiles.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "recipes/common/neuron_statistics.h"

namespace lacuna {

struct ClusterOptions {
  int iterations = 12, starts = 1;
  std::uint64_t seed = 1;
};

struct Clusters {
  std::vector<std::int32_t> of;  // by row of the profiles
  double cost = 0;               // sum of squared distances to the centres
  int iterations = 0;            // of the start that stayed
};

// profiles [rows, tokens] F32, rows of length 1 or 0. Centres begin as rows: the first at random, each next
// one with probability by squared distance to the nearest so far (k-means++). Stops early at a fixed point.
Clusters balanced_clusters(const at::Tensor& profiles, const std::vector<std::int64_t>& sizes,
                           const ClusterOptions& options);

// |h_i|·‖d_i‖ of each token, scaled to length 1 for each neuron (the norm of d cancels): which tokens a
// neuron works for, and how much. [neurons of `list`, tokens] F32.
at::Tensor contribution_profiles(const FfnWeights& ffn, const at::Tensor& inputs,
                                 const std::vector<std::int32_t>& list);
// 0/1 of the tokens that mark a neuron, scaled alike: clusters of neurons that fire together.
at::Tensor coactivation_profiles(const NeuronStatistics& statistics, const std::vector<std::int32_t>& list);

}  // namespace lacuna
