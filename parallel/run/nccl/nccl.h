// NCCL for ranks that are processes with a GPU each. Needs no NCCL header; in a build without CUDA the
// function fails with Error(Usage).
#pragma once

#include <memory>

#include "parallel/run/communicator.h"
#include "parallel/run/device.h"

namespace lacuna {

// Collective over `host`, whose ranks it takes over: `host` carries the control data and becomes control().
// Collectives run in the compute queue of `device`; every channel gets a 2-rank NCCL communicator and a queue
// of its own in connect(). `progress`: see Communicator::report_to; given here, so that the connecting is
// named too. All arguments outlive the result, which no rank ends before all have finished their queues and
// met. Error(NoFit) when two ranks share a GPU.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, Device& device,
                                                     Progress* progress = nullptr);

// "2.28.9": the library that was found when the program started; "" in a build without CUDA.
const char* nccl_version();

}  // namespace lacuna
