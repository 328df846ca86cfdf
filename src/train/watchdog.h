// Ends a process that makes no progress: a thread that looks at the rank's progress word and at nothing else.
// After one clear line it leaves with exit code 75 (hang or lost peer: retry), and mpirun ends the other
// ranks. It takes no lock that work could hold, calls no MPI and allocates nothing once it runs.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "parallel/run/progress.h"

namespace lacuna {

struct WatchdogOptions {
  int rank = 0;
  std::chrono::milliseconds poll{200};  // how often it looks; a hang is reported at most two looks late
  // Called instead of leaving, once, on the watchdog's thread: for ranks that are threads of one process.
  std::function<void(const char* line)> on_hang;
};

// A deadline is the time without a tick after which the rank counts as hung: Progress::deadline_ms, which the
// working thread sets when its phase changes (DeadlineScope). Time during which the process was stopped or
// got no processor does not count: of two looks further apart than planned, only the planned time counts.
class Watchdog {
 public:
  Watchdog(const Progress& progress, WatchdogOptions options);
  ~Watchdog();  // ends the watch
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Default deadlines of the phases.
inline constexpr std::chrono::milliseconds kInitDeadline{300'000}, kStepDeadline{60'000},
    kCheckpointDeadline{600'000};

// Deadline of a step: ten median steps, at least kStepDeadline.
std::chrono::milliseconds step_deadline(double median_step_seconds);
// Of a checkpoint: five times the last one, at least kCheckpointDeadline.
std::chrono::milliseconds checkpoint_deadline(double last_save_seconds);

// The phase and deadline until the end of the scope; then the outer ones hold again. `phase` is a literal.
class DeadlineScope {
 public:
  DeadlineScope(Progress& progress, const char* phase, std::chrono::milliseconds deadline);
  ~DeadlineScope();
  DeadlineScope(const DeadlineScope&) = delete;
  DeadlineScope& operator=(const DeadlineScope&) = delete;

 private:
  Progress& progress_;
  const char* phase_;
  std::int64_t deadline_ms_;
};

// The line of a hung rank, cut to `size` bytes with its final zero:
//   rank 3 (node7): no progress for 60 s at step 1204 (step), in recv F micro 5 of stage 2, waiting for rank
//   1 of 'pp'; last ended: forward micro 4 of stage 2
void describe_hang(const Progress& progress, int rank, const char* host, std::chrono::milliseconds silent,
                   char* text, std::size_t size);

}  // namespace lacuna
