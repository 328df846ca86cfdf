// calib.h5 of one layer: the FFN's inputs on calibration tokens and the statistics of its neurons. Whoever
// has the parent's weights can carve that layer again from it, with other settings and without a forward
// pass.
//
// Datasets: inputs F32 [tokens, hidden] (the last check_tokens of them only to measure on), output_moment F64
// [hidden, hidden] where heapr was asked for; for people and other programs counts I64, mean, second, peak
// F64 [neurons], input_mean F64 [hidden], input_second F64 [hidden, hidden], top_neurons I32 [tokens fitted
// on, K_a]. Attributes: format, layer, check_tokens, weights (hash of the layer's FFN), data (what the tokens
// are).
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "recipes/common/neuron_statistics.h"

namespace lacuna {

struct CalibLayer {
  int layer = 0;
  std::int64_t check_tokens = 0;
  std::string weights, data;
  at::Tensor inputs, output_moment;
};

// Writes a temporary file and renames it. Error(Storage).
void write_calib(const std::string& path, const CalibLayer& layer, const NeuronStatistics& statistics);
// Error(BadInput) when the file is not one, or of another layer, other weights or other data than `expected`.
CalibLayer read_calib(const std::string& path, const CalibLayer& expected);

// A hash of the layer's weights, for CalibLayer::weights.
std::string fingerprint_of(const FfnWeights& ffn);

}  // namespace lacuna
