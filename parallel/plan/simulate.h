// What a table costs: times every action by the rules of dependencies.h and sums up.
#pragma once

#include <vector>

#include "parallel/plan/event_walk.h"
#include "parallel/plan/schedule.h"

namespace lacuna {

struct Simulation {
  EventTimes times;
  double makespan = 0;               // from the first start to the last end
  double bubble = 0;                 // share of ranks · makespan in which no compute action runs
  std::vector<double> peak_stashes;  // of each rank, own and guest, in whole stashes: see peak_stashes()
  int evictions = 0;                 // pieces that leave their rank
};

// Error(Internal) on a table that deadlocks or is not complete: see violations().
Simulation simulate(const Schedule& schedule, const Costs& costs);

// Stash slots of a rank that are ever in use, for itself and for its evictor, in whole stashes. A property of
// the table, whatever the costs.
double peak_stashes(const Schedule& schedule, int rank);

}  // namespace lacuna
