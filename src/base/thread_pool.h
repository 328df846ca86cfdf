// Threads that share the outputs of one step: [0, count) is cut into chunks, each computed by exactly one
// thread. Nothing is ever reduced across threads, so results do not depend on their number.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace lacuna {

class ThreadPool {
 public:
  // `threads` workers, the caller being one of them; 0: as many as this process may run on.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(begin, end, worker) until [0, count) is covered, worker in [0, size()). Borders are multiples
  // of `grain`. Runs in the caller alone when count·cost, in floating-point operations, is not worth a
  // hand-over. The first exception of any chunk is rethrown here, when all have ended. Not reentrant.
  template <class Work>
  void split(std::int64_t count, std::int64_t grain, double cost, Work&& work) {
    if (count <= 0) return;
    if (workers_.empty() || static_cast<double>(count) * cost < kWorthIt)
      return work(std::int64_t{0}, count, 0);
    using Body = std::remove_reference_t<Work>;
    run({[](void* body, std::int64_t begin, std::int64_t end, int worker) {
           (*static_cast<Body*>(body))(begin, end, worker);
         },
         const_cast<void*>(static_cast<const void*>(&work))},
        count, grain);
  }

 private:
  static constexpr double kWorthIt = 60'000;
  struct Job {
    void (*call)(void*, std::int64_t, std::int64_t, int) = nullptr;
    void* body = nullptr;
  };
  void run(Job job, std::int64_t count, std::int64_t grain);
  void work_loop(int worker);
  void take_chunks(int worker);

  // High half: number of the job; low half: next chunk, or kClosed while a job is being set up. A worker that
  // comes late finds another number and takes nothing, so nobody waits for it.
  std::atomic<std::uint64_t> ticket_{0};
  std::atomic<std::uint32_t> chunks_{0}, done_{0};
  std::atomic<std::uint32_t> wake_{0};
  std::atomic<bool> stop_{false};
  Job job_;
  std::int64_t count_ = 0, chunk_ = 0;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> workers_;
};

}  // namespace lacuna
