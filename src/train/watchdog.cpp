#include "src/train/watchdog.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "src/base/error.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Appends to a text of fixed size.
class Line {
 public:
  Line(char* text, std::size_t size) : text_(text), size_(size) { text_[0] = 0; }
  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) {
    va_list values;
    va_start(values, format);
    const int written = vsnprintf(text_ + used_, size_ - used_, format, values);
    va_end(values);
    if (written > 0) used_ = std::min(size_ - 1, used_ + static_cast<std::size_t>(written));
  }
  std::size_t used() const { return used_; }

 private:
  char* text_;
  std::size_t size_, used_ = 0;
};

void add_place(Line& line, int micro, int stage) {
  if (micro >= 0) line.add(" micro %d", micro);
  if (stage >= 0) line.add(" of stage %d", stage);
}

}  // namespace

void describe_hang(const Progress& p, int rank, const char* host, milliseconds silent, char* text,
                   std::size_t size) {
  Line line(text, size);
  line.add("rank %d (%s): no progress for ", rank, host);
  if (silent.count() < 10'000) {
    line.add("%.1f s", static_cast<double>(silent.count()) / 1000);
  } else {
    line.add("%lld s", static_cast<long long>(silent.count() / 1000));
  }
  line.add(" at step %lld (%s)", static_cast<long long>(p.step.load()), p.phase.load());
  const char *doing = p.doing.load(), *with = p.with.load(), *last = p.last.load();
  line.add(", in %s", *doing ? doing : "its own work");
  add_place(line, p.micro.load(), p.stage.load());
  if (const int peer = p.peer.load(); peer >= 0) {
    line.add(", waiting for rank %d of '%s'", peer, with);
  } else if (*with) {
    line.add(" on '%s'", with);
  }
  if (*last) {
    line.add("; last ended: %s", last);
    add_place(line, p.last_micro.load(), p.last_stage.load());
  }
}

struct Watchdog::State {
  State(const Progress& the_progress, WatchdogOptions the_options)
      : progress(the_progress), options(std::move(the_options)) {
    if (gethostname(host, sizeof host - 1) != 0) std::strcpy(host, "unknown host");
  }
  void watch();
  void report(milliseconds silent);

  const Progress& progress;
  const WatchdogOptions options;
  char host[128] = "";
  char line[640] = "";
  std::mutex mutex;  // of `stop` alone, never held by the working thread
  std::condition_variable changed;
  bool stop = false;
  std::thread thread;
};

// The limit is read before the ticks: a phase with a shorter limit ticks before it begins, so its limit is
// never held against the silence of the phase before. An expiry is believed at the second look.
void Watchdog::State::watch() {
  std::uint64_t seen = progress.ticks.load();
  milliseconds silent{0};
  bool suspected = false;
  std::unique_lock lock(mutex);
  Clock::time_point before = Clock::now();
  while (!changed.wait_for(lock, options.poll, [&] { return stop; })) {
    const Clock::time_point now = Clock::now();
    const auto passed = std::chrono::duration_cast<milliseconds>(now - before);
    before = now;
    const std::int64_t deadline_ms = progress.deadline_ms.load();
    if (const std::uint64_t ticks = progress.ticks.load(); ticks != seen) {
      seen = ticks;
      silent = milliseconds{0};
      suspected = false;
      continue;
    }
    silent += std::min(passed, 2 * options.poll);  // a process that was stopped is not to blame for it
    if (silent.count() < deadline_ms) continue;
    if (suspected) return report(silent);
    suspected = true;
  }
}

void Watchdog::State::report(milliseconds silent) {
  describe_hang(progress, options.rank, host, silent, line, sizeof line);
  if (options.on_hang) return options.on_hang(line);
  const std::size_t length = std::strlen(line);
  line[length] = '\n';  // one write, so that the lines of several ranks stay whole
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, length + 1);
  _exit(static_cast<int>(ErrorKind::Hang));
}

Watchdog::Watchdog(const Progress& progress, WatchdogOptions options)
    : state_(std::make_unique<State>(progress, std::move(options))) {
  LACUNA_ASSERT(state_->options.poll.count() > 0);
  state_->thread = std::thread([state = state_.get()] { state->watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

milliseconds step_deadline(double median_step_seconds) {
  return std::max(kStepDeadline, milliseconds(static_cast<std::int64_t>(10'000 * median_step_seconds)));
}

milliseconds checkpoint_deadline(double last_save_seconds) {
  return std::max(kCheckpointDeadline, milliseconds(static_cast<std::int64_t>(5'000 * last_save_seconds)));
}

// The longer deadline comes before its phase and the tick before the shorter one returns, so that no look in
// between judges the old silence by the wrong limit.
DeadlineScope::DeadlineScope(Progress& progress, const char* phase, milliseconds deadline)
    : progress_(progress), phase_(progress.phase.load()), deadline_ms_(progress.deadline_ms.load()) {
  progress_.tick();
  progress_.deadline_ms.store(deadline.count());
  progress_.phase.store(phase);
}

DeadlineScope::~DeadlineScope() {
  progress_.tick();
  progress_.deadline_ms.store(deadline_ms_);
  progress_.phase.store(phase_);
}

}  // namespace lacuna
