#include "parallel/plan/simulate.h"

#include <algorithm>
#include <set>

#include "src/base/error.h"

namespace lacuna {

Simulation simulate(const Schedule& schedule, const Costs& costs) {
  Simulation out;
  out.times = walk(schedule, costs);
  LACUNA_CHECK(out.times.stuck.empty(), ErrorKind::Internal, "schedule {}: deadlock on rank {}",
               schedule.name, out.times.stuck.front().rank);
  double first = 0, last = 0, busy = 0;
  bool any = false;
  for (int rank = 0; rank < static_cast<int>(schedule.ranks.size()); ++rank) {
    for (const auto& row : out.times.ranks[static_cast<std::size_t>(rank)]) {
      for (const Span& span : row) {
        first = any ? std::min(first, span.start) : span.start;
        last = std::max(last, span.end);
        any = true;
      }
    }
    for (const Span& span : out.times.ranks[static_cast<std::size_t>(rank)][0]) busy += span.end - span.start;
    for (const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Copy))
      out.evictions += a.op == Op::Evict ? 1 : 0;
    out.peak_stashes.push_back(peak_stashes(schedule, rank));
  }
  out.makespan = last - first;
  const double whole = out.makespan * static_cast<double>(schedule.ranks.size());
  out.bubble = whole > 0 ? 1 - busy / whole : 0;
  return out;
}

double peak_stashes(const Schedule& schedule, int rank) {
  std::set<int> own, guest;
  for (const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(Engine::Compute))
    own.insert(a.slots.begin(), a.slots.end());
  for (const RankTable& table : schedule.ranks)
    if (table.partner == rank)
      for (const Action& a : table.row(Engine::Copy)) guest.insert(a.guest);
  return static_cast<double>(own.size() + guest.size()) / schedule.pieces;
}

}  // namespace lacuna
