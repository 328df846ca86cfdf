// What moves and adds between virtual ranks: element-wise sums and maxima over the parts of several ranks on
// one or more GPUs, in ascending rank order (the bits of reduce_in_order, parallel/run/rank_sum.h), and
// copies.
#pragma once

#include <cuda_runtime.h>

#include "parallel/run/rank_sum.h"

namespace lacuna::cuda {

inline constexpr int kMaxParts = 64;

// parts[r] and outs[i] point at `count` elements each; all outs get the result, and an out may be a part.
// Memory of other GPUs must be reachable from this one. F64, F32, BF16, I64; Error(Internal) for other types.
void reduce_parts(Reduction reduction, std::span<const void* const> parts, std::span<void* const> outs,
                  std::size_t count, DType dtype, cudaStream_t stream);

// A copy by multiprocessors. Copy engines have few work queues: there, a copy that waits for an event holds
// up those of other streams behind it.
void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes, cudaStream_t stream);

}  // namespace lacuna::cuda
