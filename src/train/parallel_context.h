// A rank's place and its communicators: world, one per parallel axis, one door each.
#pragma once

#include <memory>

#include "parallel/plan/topology.h"
#include "parallel/run/communicator.h"
#include "parallel/run/progress.h"

namespace lacuna {

struct ParallelContext {
  // Collective over world, which outlives the context, as does `word`.
  ParallelContext(Communicator& world_comm, const Topology& shape, Progress& word);

  Communicator& world;
  Topology topology;
  Coordinates place;
  Progress& progress;
  std::unique_ptr<Communicator> tp, dp;
  std::unique_ptr<Communicator> pp;       // stage-to-stage traffic of the executor
  std::unique_ptr<Communicator> control;  // the same ranks as pp, for everything else between stages

  bool is_main() const { return world.rank() == 0; }
};

}  // namespace lacuna
