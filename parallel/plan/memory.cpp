#include "parallel/plan/memory.h"

#include <algorithm>
#include <numeric>

#include "src/base/error.h"

namespace lacuna {

namespace {

// Notes that a piece of `bytes` is put into `slot`.
void put(std::vector<std::size_t>& slots, int slot, std::size_t bytes) {
  const auto at = static_cast<std::size_t>(slot);
  if (slots.size() <= at) slots.resize(at + 1, 0);
  slots[at] = std::max(slots[at], bytes);
}

std::size_t sum(const std::vector<std::size_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::size_t{0});
}

}  // namespace

std::vector<RankBytes> memory_by_class(const Schedule& schedule, const std::vector<RankSizes>& sizes) {
  LACUNA_ASSERT(sizes.size() == schedule.ranks.size());
  std::vector<RankBytes> out(sizes.size());
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    const RankTable& table = schedule.ranks[rank];
    const RankSizes& size = sizes[rank];
    LACUNA_ASSERT(static_cast<int>(size.piece_bytes.size()) == schedule.pieces);
    std::vector<std::size_t> own, guests;
    for (const Action& action : table.row(Engine::Compute))
      if (action.op == Op::Forward)
        for (std::size_t piece = 0; piece < action.slots.size(); ++piece)
          put(own, action.slots[piece], size.piece_bytes[piece]);
    for (const Action& action : table.row(Engine::Copy)) {
      const std::size_t bytes = size.piece_bytes[static_cast<std::size_t>(action.piece)];
      put(action.op == Op::Load ? own : guests, action.op == Op::Load ? action.slots[0] : action.guest,
          bytes);
    }
    RankBytes& bytes = out[rank];
    bytes.weights = size.weights;
    bytes.gradients = size.gradients;
    bytes.optimizer = size.optimizer;
    bytes.workspace = size.workspace;
    bytes.teacher = size.teacher;
    bytes.own_stashes = sum(own);
    bytes.one_stash = sum(size.piece_bytes);
    bytes.boundaries =
        2 * static_cast<std::size_t>(table.recv_buffers + table.send_buffers) * size.boundary_bytes;
    if (table.partner >= 0) out[static_cast<std::size_t>(table.partner)].guest_area = sum(guests);
  }
  return out;
}

}  // namespace lacuna
