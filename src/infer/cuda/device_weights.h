// A model's weights on the GPU, as src/infer/decode_layout.h places them.
#pragma once

#include "kernels/cuda/decode_launch.h"
#include "src/infer/cuda/memory.h"
#include "src/infer/decode_layout.h"
#include "src/infer/weights.h"

namespace lacuna {

class DeviceWeights {
 public:
  // Memory without content: zeros.
  explicit DeviceWeights(DecodeLayout layout);

  const DecodeLayout& layout() const { return layout_; }
  const ModelConfig& config() const { return layout_.config; }
  cuda::DecodeMatrix matrix(const PlacedMatrix& placed) const;
  // Rows [begin, begin + rows) of a matrix.
  cuda::DecodeMatrix matrix(const PlacedMatrix& placed, std::int64_t begin, std::int64_t rows) const;
  float* floats(std::int64_t offset) const;  // null for -1
  std::int32_t* integers(std::int64_t offset) const {
    return reinterpret_cast<std::int32_t*>(floats(offset));
  }
  cuda::DecodeNorm norm(std::int64_t offset) const;

 private:
  DecodeLayout layout_;
  DeviceMemory memory_;
};

// Copies the weights through pinned memory, once, converting what is not of `dtype`. Of a routed FFN a down
// that is stored [hidden, ffn] is turned on the way.
DeviceWeights upload_weights(const Weights& weights, DType dtype);

}  // namespace lacuna
