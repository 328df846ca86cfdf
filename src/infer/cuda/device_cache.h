// Keys and values of one sequence on the GPU, and the tables of its rotary embedding. Room doubles as
// positions come, up to the context.
#pragma once

#include "kernels/cuda/decode_attention.h"
#include "src/infer/cuda/memory.h"
#include "src/infer/decode_layout.h"

namespace lacuna {

class DeviceCache {
 public:
  DeviceCache(const DecodeLayout& layout, std::int64_t context);

  // Makes room for positions [0, positions); what is stored stays. True: everything has moved.
  bool reserve(std::int64_t positions, const OwnedStream& stream);
  cuda::DecodeCache layer(std::int64_t layer) const;
  const float* cosine() const { return cosine_.as<float>(); }
  const float* sine() const { return sine_.as<float>(); }

 private:
  std::size_t row_bytes() const { return static_cast<std::size_t>(stride_) * size_of(dtype_); }
  ModelConfig config_;
  DType dtype_;
  std::int64_t context_, stride_, room_ = 0;
  DeviceMemory memory_;  // [keys, values][layers][kv_heads][room][stride]
  DeviceMemory cosine_, sine_;
};

}  // namespace lacuna
