#include "src/base/thread_pool.h"

#include <sched.h>

#include <algorithm>

#include "src/base/math.h"

namespace lacuna {

namespace {

constexpr std::uint32_t kClosed = 0xffffffffu;
constexpr int kSpins = 2000;  // some 50 microseconds: the gap between two layers' steps, not between tokens

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = allowed_processors();
  for (int worker = 1; worker < threads; ++worker)
    workers_.emplace_back([this, worker] { work_loop(worker); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  ++wake_;
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Job job, std::int64_t count, std::int64_t grain) {
  const std::uint64_t number = (ticket_ >> 32) + 1;
  ticket_ = number << 32 | kClosed;
  job_ = job;
  count_ = count;
  chunk_ = round_up(std::max<std::int64_t>(1, ceil_div(count, 4 * size())), grain);
  chunks_ = static_cast<std::uint32_t>(ceil_div(count, chunk_));
  done_ = 0;
  ticket_ = (number + 1) << 32;
  ++wake_;
  wake_.notify_all();
  take_chunks(0);
  for (int spin = 0; done_ != chunks_; ++spin) {
    if (spin < kSpins)
      pause();
    else
      std::this_thread::yield();
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::take_chunks(int worker) {
  std::uint64_t ticket = ticket_;
  for (;;) {
    const std::uint32_t chunk = static_cast<std::uint32_t>(ticket);
    if (chunk == kClosed || chunk >= chunks_) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
    const std::int64_t begin = chunk * chunk_;
    try {
      job_.call(job_.body, begin, std::min(begin + chunk_, count_), worker);
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    ++done_;
    ticket = ticket_;
  }
}

void ThreadPool::work_loop(int worker) {
  std::uint32_t seen = 0;
  while (!stop_) {
    for (int spin = 0; spin < kSpins && wake_ == seen; ++spin) pause();
    wake_.wait(seen);
    seen = wake_;
    take_chunks(worker);
  }
}

}  // namespace lacuna
