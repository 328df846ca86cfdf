#include "parallel/plan/memory.h"

#include <algorithm>
#include <numeric>

#include "src/base/error.h"

namespace lacuna {

std::vector<RankBytes> memory_by_class(const Schedule& schedule, const std::vector<RankSizes>& sizes) {
  LACUNA_ASSERT(sizes.size() == schedule.ranks.size());
  std::vector<RankBytes> out;
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    const RankTable& table = schedule.ranks[rank];
    const RankSizes& size = sizes[rank];
    LACUNA_ASSERT(static_cast<int>(size.piece_bytes.size()) == schedule.pieces);
    const std::size_t slot = *std::max_element(size.piece_bytes.begin(), size.piece_bytes.end());
    RankBytes bytes{size.weights, size.gradients, size.optimizer};
    bytes.own_stashes = static_cast<std::size_t>(table.own_slots) * slot;
    bytes.one_stash = std::accumulate(size.piece_bytes.begin(), size.piece_bytes.end(), std::size_t{0});
    bytes.boundaries =
        2 * static_cast<std::size_t>(table.recv_buffers + table.send_buffers) * size.boundary_bytes;
    out.push_back(bytes);
  }
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    const RankTable& table = schedule.ranks[rank];
    if (table.partner < 0) continue;
    const auto partner = static_cast<std::size_t>(table.partner);
    const auto& pieces = sizes[rank].piece_bytes;
    out[partner].guest_area = static_cast<std::size_t>(schedule.ranks[partner].guest_slots) *
                              *std::max_element(pieces.begin(), pieces.end());
  }
  return out;
}

}  // namespace lacuna
