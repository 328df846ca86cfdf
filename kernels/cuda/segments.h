// Many buffers in one launch: a device table of segments, cut into chunks of fixed size. What a chunk is
// depends on the segments' sizes alone, so results do not depend on which segments share a launch. The caller
// builds the chunk list once and keeps it in device memory beside the table.
//
// No alignment is needed; buffers aligned to 16 bytes are faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

inline constexpr std::int64_t kChunkElements = 16384;

struct Chunk {
  std::int32_t segment = 0;  // index in the table
  std::int32_t part = 0;     // elements [part, part + 1) · kChunkElements of it
};
// Ascending by segment, then part; nothing for empty segments.
std::vector<Chunk> cut_into_chunks(std::span<const std::int64_t> element_counts);

// A device list of chunks.
struct Chunks {
  const Chunk* data = nullptr;
  std::int64_t count = 0;
};

struct Segment {
  void* to = nullptr;          // written
  const void* from = nullptr;  // read; ignored by fill_zero
  std::int64_t count = 0;      // elements
};

// dtype: the element type of `to`.
void fill_zero(DType dtype, const Segment* table, Chunks chunks, Stream stream);
// to = from, rounded to nearest even. F64, F32, BF16 in any combination; in place only for equal types.
void convert(DType from, DType to, const Segment* table, Chunks chunks, Stream stream);

}  // namespace lacuna::cuda
