// Where the ranks of a communicator stand: which share a node, which are threads of one process.
#pragma once

#include "parallel/run/communicator.h"

namespace lacuna {

struct NodePlace {
  int local_rank = 0, local_size = 1;  // among the ranks of this node, in rank order
  bool threads = false;                // ranks of this node are threads of one process (virtual ranks)
};

// Collective over a communicator of host memory.
NodePlace find_node_place(Communicator& host);

// Which of a node's `gpus` GPUs (in PCI order) a rank takes. Processes get one each; Error(NoFit) when there
// are fewer, since NCCL refuses two ranks on one GPU. Virtual ranks share the GPUs in blocks of neighbours,
// so that the partners of BPipe stand apart.
int gpu_of_rank(const NodePlace& place, int gpus);

}  // namespace lacuna
