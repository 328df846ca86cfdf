#include <functional>
#include <queue>

#include "parallel/plan/passes/passes.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

// One rank without copies: the compute row alone says which stashes live at the same time.
void assign_rank(const Schedule& schedule, RankTable& table) {
  const auto micros = static_cast<std::size_t>(schedule.micros);
  std::vector<std::vector<int>> held(static_cast<std::size_t>(schedule.stages()) * micros);
  std::priority_queue<int, std::vector<int>, std::greater<>> free;
  const auto release = [&](std::vector<int>& slots) {
    for (const int slot : slots) free.push(slot);
  };
  for (Action& a : table.row(Engine::Compute)) {
    if (a.op == Op::Reduce) continue;
    std::vector<int>& slots =
        held[static_cast<std::size_t>(a.stage) * micros + static_cast<std::size_t>(a.micro)];
    if (a.op == Op::Forward) {
      for (int piece = 0; piece < schedule.pieces; ++piece) {
        if (free.empty()) free.push(table.own_slots++);
        slots.push_back(free.top());
        free.pop();
      }
    }
    LACUNA_ASSERT(static_cast<int>(slots.size()) == schedule.pieces);  // a Forward came before
    a.slots = slots;
    const bool leaves = schedule.forward_only || a.op == Op::Backward || a.op == Op::WeightGrad;
    if (leaves) release(slots);
  }
}

}  // namespace

void assign_slots(Schedule& schedule) {
  for (RankTable& table : schedule.ranks)
    if (table.partner < 0) assign_rank(schedule, table);
}

}  // namespace lacuna
