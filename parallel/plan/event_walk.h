// Plays a table once by the rules of dependencies.h and says when each action starts and ends, or which
// actions never can. Zero buffering between ranks: a transfer moves once both ends have started.
#pragma once

#include <array>
#include <vector>

#include "parallel/plan/dependencies.h"
#include "parallel/plan/schedule.h"

namespace lacuna {

// Times are in whatever unit the costs have.
struct Costs {
  double forward = 1, backward = 2;
  double input_grad = -1, weight_grad = -1;  // negative: half of `backward`
  double move = 0.5;                         // evicting or loading one whole stash (all its pieces)
  double latency = 0;                        // a transfer between stages
  bool duplex = false;                       // an eviction and a load may run side by side
  double of(Op op, int pieces) const;
};

struct Span {
  double start = -1, end = -1;  // negative: never
};

struct Stuck {
  int rank = 0;
  ActionRef action;   // never starts, or is a transfer that never ends
  ActionRef missing;  // waits for this action of the same rank; of a started transfer: itself
};

struct EventTimes {
  std::vector<std::array<std::vector<Span>, kEngines>> ranks;
  std::vector<Stuck> stuck;  // empty: everything ended
  const Span& at(int rank, Engine engine, int index) const {
    return ranks[static_cast<std::size_t>(rank)][static_cast<std::size_t>(engine)]
                [static_cast<std::size_t>(index)];
  }
};

// Error(Internal) on a table whose links cannot be made (see rank_links).
EventTimes walk(const Schedule& schedule, const Costs& costs);

}  // namespace lacuna
