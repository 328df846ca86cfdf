// Rotary position embedding for training (arXiv 2104.09864), rotate-half form: elements i and i + d/2 of a
// head are a pair. In place, or from another buffer; queries and keys in one launch.
//
// Pointers are device memory of the caller. dtype: F64, F32 or BF16; tables and arithmetic in the
// accumulation type A (double for F64, else float).
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// [tokens, heads·head_dim] with a row stride in elements (0: heads·head_dim).
struct RopeRows {
  void* data = nullptr;
  std::int64_t heads = 0, stride = 0;
  const void* from = nullptr;  // same layout, read instead of data; null: in place
};

// cos, sin [seq_len, head_dim/2] of A; token t stands at position t mod seq_len.
struct RopeAngles {
  const void* cos = nullptr;
  const void* sin = nullptr;
  std::int64_t seq_len = 1, head_dim = 2;
};

// Either of query and key may have no heads.
void rope_rotate(DType dtype, const RopeRows& query, const RopeRows& key, const RopeAngles& angles,
                 std::int64_t tokens, Stream stream);
// The transpose: a gradient's way back.
void rope_rotate_back(DType dtype, const RopeRows& query, const RopeRows& key, const RopeAngles& angles,
                      std::int64_t tokens, Stream stream);

}  // namespace lacuna::cuda
