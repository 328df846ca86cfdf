// Runs one rank's rows of a schedule: an event loop over the three engines that starts whatever is next in
// its row and ready. On CPU ranks compute and copies block, transfers overlap with them. On a GPU the loop
// issues a whole step ahead of the device: an action has "ended" once it stands in its queue with a mark, and
// whoever depends on it waits for that mark in another queue, not on the host.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "parallel/plan/schedule.h"
#include "parallel/run/communicator.h"
#include "parallel/run/device.h"
#include "parallel/run/progress.h"
#include "parallel/run/stage.h"

namespace lacuna {

// What the last run measured on this rank.
struct ExecutorStats {
  std::size_t peak_own_bytes = 0;    // stash slots of this rank that were ever occupied, in bytes
  std::size_t peak_guest_bytes = 0;  // of this rank's guest area, as its evictor counted them
  std::int64_t evictions = 0;
  double compute_seconds = 0, idle_seconds = 0;  // of the issuing thread
};

// Reads a table once and runs it every step with the same buffers: nothing is allocated inside a step.
class Executor {
 public:
  // `pipeline` connects the ranks of the schedule (rank i of it runs schedule.ranks[i]). Collective over it:
  // connects its channels and opens the window of the guest areas. Stashes and boundary buffers lie in the
  // memory of `device`, the one that `pipeline` carries; the stage works in its compute queue. All references
  // outlive the executor. `lender`: an executor of the same stage whose stash memory this one uses as well,
  // as the two never run at the same time; it outlives this one.
  Executor(const Schedule& schedule, Communicator& pipeline, Stage& stage, Progress& progress, Device& device,
           const Executor* lender = nullptr);
  Executor(const Schedule& schedule, Communicator& pipeline, Stage& stage,
           Progress& progress);  // host memory
  ~Executor();
  // Once before the first run, with a step's data at hand: each stage of this rank computes two micro-batches
  // forward and backward (gradients are made by the first and added to by the second, which may be another
  // kernel), without any transfer; what it adds to gradients and losses is void. A GPU loads kernels and
  // takes memory at their first use and may wait for its queues then, and in a step one of them may be
  // waiting for a peer that waits for this rank.
  void rehearse();
  void run();    // one step; on a GPU: issues it, what is issued to the compute queue later comes after it
  void close();  // collective: releases the window
  const ExecutorStats& stats() const;

 private:
  struct State;
  std::unique_ptr<HostDevice> own_device_;  // where none was given
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
