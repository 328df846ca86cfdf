#include "kernels/cuda/segments.h"

namespace lacuna::cuda {

std::vector<Chunk> cut_into_chunks(std::span<const std::int64_t> element_counts) {
  std::vector<Chunk> chunks;
  for (std::size_t segment = 0; segment < element_counts.size(); ++segment)
    for (std::int64_t part = 0; part * kChunkElements < element_counts[segment]; ++part)
      chunks.push_back({static_cast<std::int32_t>(segment), static_cast<std::int32_t>(part)});
  return chunks;
}

}  // namespace lacuna::cuda
