// Ranks as threads of one process: unit tests of every layout, and many virtual ranks on few devices. Nothing
// is buffered: a send ends when its receive has taken the bytes. No wait is endless: a rank that fails or
// leaves is reported to everyone who waits for it, and each wait has a limit.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "parallel/run/communicator.h"

namespace lacuna {

// What the ranks of one process share. Outlives every communicator made from it.
class LocalWorld {
 public:
  // A wait that takes longer than `limit` ends in Error(Hang).
  explicit LocalWorld(int ranks, std::chrono::milliseconds limit = std::chrono::minutes(5));
  ~LocalWorld();
  LocalWorld(const LocalWorld&) = delete;
  LocalWorld& operator=(const LocalWorld&) = delete;

  // The communicator of all ranks for the thread of `rank`; once per rank.
  std::unique_ptr<Communicator> communicator(int rank, const std::string& name = "world");
  // A rank has ended: by an exception, or by itself (null). Whoever waits for it, now or later, gets
  // Error(Hang); after an exception so does everybody else.
  void leave(int rank, std::exception_ptr error);
  // The exception of the first rank that left with one, or null.
  std::exception_ptr first_error() const;

  struct State;  // for the implementation alone

 private:
  std::unique_ptr<State> state_;
};

// Runs body(world communicator, rank) on `ranks` threads and joins them. When one throws, the others are
// unblocked, and the first exception is thrown again here.
void run_local(int ranks, const std::function<void(Communicator& world, int rank)>& body,
               std::chrono::milliseconds limit = std::chrono::minutes(5));

// A world of one rank that owns itself.
std::unique_ptr<Communicator> single_rank(const std::string& name = "single");

}  // namespace lacuna
