// What an executor issues to a device that only writes it down, and what queues would do with it: each runs
// in order, a mark is a place in one, and the two ends of a transfer meet. So an executor's way with a GPU is
// tested without one: what waits for what, and when it would end.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "parallel/plan/event_walk.h"
#include "parallel/plan/schedule.h"
#include "parallel/run/communicator.h"
#include "parallel/run/device.h"

namespace lacuna::test {

struct Issued {
  enum class Kind : std::uint8_t { Compute, Copy, Mark, Wait, Send, Receive };
  Kind kind = Kind::Compute;
  Queue queue = kComputeQueue;
  Op op = Op::Forward;  // Compute
  Mark mark = 0;        // Mark and Wait
  Channel channel;      // Send and Receive
};

// When a transfer stands in its queue: at isend and irecv (NCCL), or whenever the rank looks after its
// transfers, then all that were posted (virtual ranks).
enum class Posting : std::uint8_t { AtOnce, Together };

// One step of every rank, in the order of issue.
std::vector<std::vector<Issued>> issue_ahead(const Schedule& schedule, Posting posting);

struct Replay {
  bool stuck = false;  // something never ran
  // End of each compute action of each rank; what never ran is missing.
  std::vector<std::vector<double>> compute_ends;
};
// `blocks`: compute work that a rank's host must wait for before it issues more, with everything that it has
// issued so far, at its first use in the step (a kernel that is loaded then).
Replay replay(const Schedule& schedule, const std::vector<std::vector<Issued>>& ranks, const Costs& costs,
              const std::set<Op>& blocks = {});

}  // namespace lacuna::test
