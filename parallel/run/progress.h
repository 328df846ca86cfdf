// The progress word of a rank: what it is doing right now. Written by the working thread before and after
// everything that can block, read by the watchdog thread, which uses no lock, MPI, CUDA or allocation.
#pragma once

#include <atomic>
#include <cstdint>

namespace lacuna {

struct Progress {
  // Fixed texts only (string literals): the watchdog reads them at any time.
  std::atomic<const char*> phase{"start"};   // "init", "step", "checkpoint", "eval"
  std::atomic<const char*> doing{""};        // "recv F", "all-reduce", "forward"
  std::atomic<const char*> with{""};         // communicator
  std::atomic<std::int64_t> step{0};
  std::atomic<int> micro{-1}, stage{-1}, peer{-1};
  std::atomic<std::uint64_t> ticks{0};       // changes whenever something was done
  std::atomic<std::int64_t> deadline_ms{300'000};  // without a tick for this long the rank counts as hung

  void tick() { ticks.fetch_add(1, std::memory_order_relaxed); }
};

}  // namespace lacuna
