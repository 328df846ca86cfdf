#include <utility>

#include "parallel/plan/passes/passes.h"

namespace lacuna {

void split_backwards(Schedule& schedule) {
  for (RankTable& table : schedule.ranks) {
    std::vector<Action> split;
    for (Action& a : table.row(Engine::Compute)) {
      const bool backward = a.op == Op::Backward;
      if (backward) a.op = Op::InputGrad;
      split.push_back(a);
      if (!backward) continue;
      a.op = Op::WeightGrad;
      split.push_back(std::move(a));
    }
    table.row(Engine::Compute) = std::move(split);
  }
}

}  // namespace lacuna
