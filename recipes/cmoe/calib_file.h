// calib.h5: what calibration measured on every layer: the FFN's inputs on calibration tokens and the
// statistics of its neurons. Whoever has the parent's weights carves again from it, with other settings,
// under any layout and without a forward pass.
//
// Attributes of the file: format, layers, hidden, tokens, check_tokens, data (what the tokens are). Layer N
// is the group layers/N: inputs F32 [tokens, hidden], the last check_tokens of them only to measure on, with
// the attribute weights (hash of the layer's tensors, for layer 0 also of those outside the layers);
// output_moment F64 [hidden, hidden] where heapr was asked for; for people and other programs counts I64,
// mean, second, peak F64 [neurons], input_mean F64 [hidden], input_second F64 [hidden, hidden], top_neurons
// I32 [tokens fitted on, K_a].
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "src/arch/model_config.h"
#include "src/h5/file.h"
#include "src/train/snapshot.h"

namespace lacuna {

inline constexpr const char* kCalibFormat = "lacuna.calib.v2";
std::string calib_dataset(int layer, const std::string& name);  // "layers/3/inputs"
DType calib_type(const at::Tensor& tensor);                     // F64, F32, I64 or I32

// What a file says of itself; all of it must be as wanted.
struct CalibLabel {
  std::int64_t layers = 0, hidden = 0, tokens = 0, check_tokens = 0;
  std::string data;
};

struct CalibLayer {
  std::string weights;
  at::Tensor inputs, output_moment;  // output_moment: undefined where nobody asked for it
};

// For CalibLayer::weights.
std::string calib_fingerprint(const SlabSource& weights, const ModelConfig& config, int layer);

class CalibReader {
 public:
  // Error(BadInput) when the file is not one, or of another model's shape or other data than `expected`.
  CalibReader(const std::string& path, const CalibLabel& expected);
  // Error(BadInput) when the layer's weights were not these, or a tensor has not the shape it must have.
  CalibLayer read(int layer, const std::string& weights) const;

 private:
  CalibLabel label_;
  h5::File file_;
};

}  // namespace lacuna
