// The progress word of a rank: what it is doing right now. Written by the working thread before and after
// everything that can block, read by the watchdog thread, which uses no lock, MPI, CUDA or allocation.
#pragma once

#include <atomic>
#include <cstdint>

namespace lacuna {

struct Progress {
  // Fixed texts only (string literals, or names that outlive the watchdog): it reads them at any time.
  std::atomic<const char*> phase{"start"};  // "init", "step", "checkpoint", "eval"
  std::atomic<const char*> doing{""};       // "recv F", "all-reduce", "forward"
  std::atomic<const char*> with{""};        // communicator
  std::atomic<std::int64_t> step{0};
  std::atomic<int> micro{-1}, stage{-1}, peer{-1};
  // What ended last, for the line that the watchdog prints.
  std::atomic<const char*> last{""};
  std::atomic<int> last_micro{-1}, last_stage{-1};
  std::atomic<std::uint64_t> ticks{0};             // changes whenever something was done
  std::atomic<std::int64_t> deadline_ms{300'000};  // without a tick for this long the rank counts as hung

  void tick() { ticks.fetch_add(1, std::memory_order_relaxed); }
};

// What the rank does until the end of the scope; then the outer work is named again. A null progress is
// allowed and ignored. Ticks at both ends.
class Doing {
 public:
  Doing(Progress* progress, const char* doing, const char* with, int peer = -1) : progress_(progress) {
    if (!progress_) return;
    doing_ = progress_->doing.exchange(doing, std::memory_order_relaxed);
    with_ = progress_->with.exchange(with, std::memory_order_relaxed);
    peer_ = progress_->peer.exchange(peer, std::memory_order_relaxed);
    progress_->tick();
  }
  ~Doing() {
    if (!progress_) return;
    progress_->doing.store(doing_, std::memory_order_relaxed);
    progress_->with.store(with_, std::memory_order_relaxed);
    progress_->peer.store(peer_, std::memory_order_relaxed);
    progress_->tick();
  }
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;

 private:
  Progress* progress_;
  const char* doing_ = "";
  const char* with_ = "";
  int peer_ = -1;
};

}  // namespace lacuna
