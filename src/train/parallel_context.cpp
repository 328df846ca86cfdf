#include "src/train/parallel_context.h"

#include "src/base/error.h"

namespace lacuna {

ParallelContext::ParallelContext(Communicator& world_comm, const Topology& shape, Progress& word)
    : world(world_comm), topology(shape), place(coordinates_of(shape, world_comm.rank())), progress(word) {
  LACUNA_ASSERT(topology.world() == world.size());
  const Coordinates& at = place;
  const int replica = at.dp * topology.tp + at.tp;  // the pipeline this rank belongs to
  tp = world.split(at.pp * topology.dp + at.dp, at.tp, "tp");
  dp = world.split(at.pp * topology.tp + at.tp, at.dp, "dp");
  pp = world.split(replica, at.pp, "pp");
  control = world.split(replica, at.pp, "control");
}

}  // namespace lacuna
