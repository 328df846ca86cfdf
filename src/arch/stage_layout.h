// Where the block stashes of a stage lie in its pieces: a piece holds the stashes of consecutive layers back
// to back, pieces as even as possible, and the last piece of the last stage also the head's.
#pragma once

#include <cstddef>
#include <vector>

#include "src/arch/stash_layout.h"

namespace lacuna {

struct StashPlace {
  int piece = 0;
  std::size_t offset = 0;  // bytes, a multiple of 64
};

struct StageLayout {
  std::vector<StashPlace> blocks;        // of the stage's layers in order
  StashPlace head;                       // meaningful with a head
  std::vector<std::size_t> piece_bytes;  // one per piece
};

// `layers`: how many the stage has. Planner and trainer read the same split.
StageLayout stage_layout(const ModelConfig& config, const MicroShape& shape, StashKind kind,
                         std::int64_t layers, bool has_head, int pieces);

}  // namespace lacuna
