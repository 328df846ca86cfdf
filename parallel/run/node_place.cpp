#include "parallel/run/node_place.h"

#include <unistd.h>

#include <vector>

#include "src/base/error.h"
#include "src/base/hash.h"

namespace lacuna {

NodePlace find_node_place(Communicator& host) {
  struct Address {
    std::uint64_t node;
    std::int64_t process;
  };
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  const Address mine{hash64(name, sizeof name), getpid()};
  std::vector<Address> all(static_cast<std::size_t>(host.size()));
  host.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  NodePlace place{.local_size = 0};
  for (int rank = 0; rank < host.size(); ++rank) {
    const Address& other = all[static_cast<std::size_t>(rank)];
    if (other.node != mine.node) continue;
    if (rank < host.rank()) ++place.local_rank;
    ++place.local_size;
    if (rank != host.rank() && other.process == mine.process) place.threads = true;
  }
  return place;
}

int gpu_of_rank(const NodePlace& place, int gpus) {
  LACUNA_CHECK(gpus > 0, ErrorKind::NoFit, "no GPU on this machine: --device cpu, or look at lacuna doctor");
  if (place.threads) return place.local_rank * gpus / place.local_size;
  LACUNA_CHECK(place.local_size <= gpus, ErrorKind::NoFit,
               "{} processes on this machine, {} GPU{}: each needs its own. Start one process a GPU, or run "
               "them as virtual ranks, threads of one process that share GPUs",
               place.local_size, gpus, gpus == 1 ? "" : "s");
  return place.local_rank;
}

}  // namespace lacuna
