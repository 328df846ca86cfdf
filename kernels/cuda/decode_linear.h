// Matrix-vector products of decoding one token, at the speed of memory: y = W·norm(x) (+ bias), or y += W·x.
// A warp owns a row; the sum of an output always runs in the same order, whatever the launch.
#pragma once

#include "kernels/cuda/decode_launch.h"

namespace lacuna::cuda {

struct DecodeLinear {
  DecodeMatrix weight;
  const float* x = nullptr;  // [weight.cols], padded with zeros to 4 floats
  DecodeNorm norm;           // of x; its weight is padded likewise
  const float* bias = nullptr;
  float* y = nullptr;  // [weight.rows]
  bool add = false;    // y += instead of y =
  // When not null: raised to best_of(largest y, its row). Set it to 0 before.
  std::uint64_t* best = nullptr;
};
// Error(Internal) when the width does not fit into shared memory (some 40,000) or rows are not aligned.
void decode_linear(const DecodeLinear& call, const DecodeLaunch& how);

// The order of `best`: larger values first, then lower rows; NaN above everything.
inline std::int32_t row_of_best(std::uint64_t best) {
  return static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(best));
}
inline bool best_is_finite(std::uint64_t best) {
  const auto key = static_cast<std::uint32_t>(best >> 32);
  return key > 0x007fffffu && key < 0xff800000u;  // -infinity, +infinity
}

// The shared memory of a kernel that multiplies with `width` floats and streams rows, in bytes.
std::size_t decode_shared_bytes(DType dtype, std::int64_t width);

}  // namespace lacuna::cuda
