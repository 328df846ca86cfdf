#include "src/arch/stage_layout.h"

namespace lacuna {

StageLayout stage_layout(const ModelConfig& config, const MicroShape& shape, StashKind kind,
                         std::int64_t layers, bool has_head, int pieces) {
  const std::size_t block_bytes = block_stash(config, shape, kind).bytes;
  StageLayout out;
  out.piece_bytes.assign(static_cast<std::size_t>(pieces), 0);
  for (int piece = 0; piece < pieces; ++piece) {
    std::size_t& used = out.piece_bytes[static_cast<std::size_t>(piece)];
    const std::int64_t here = layers * (piece + 1) / pieces - layers * piece / pieces;
    for (std::int64_t i = 0; i < here; ++i, used += block_bytes) out.blocks.push_back({piece, used});
  }
  if (has_head) {
    out.head = {pieces - 1, out.piece_bytes.back()};
    out.piece_bytes.back() += head_stash(config, shape).bytes;
  }
  return out;
}

}  // namespace lacuna
