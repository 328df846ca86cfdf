// MPI from its start to its end, for the processes of one job. MPI-3.1, one thread calls it (FUNNELED).
#pragma once

#include <cstddef>
#include <memory>

#include "parallel/run/communicator.h"

namespace lacuna {

// One per process. Nothing collective happens in the destructor: a process that leaves without finalize()
// makes mpirun end the job, which is right after an error of one rank alone.
class MpiSession {
 public:
  // Initialises MPI. Longer messages than `largest_message` bytes (below 2^31) travel in parts.
  explicit MpiSession(std::size_t largest_message = std::size_t{1} << 30);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  Communicator& world();  // all ranks of the job; lives as long as the session
  // Collective: the regular end. No communicator may be used afterwards.
  void finalize();
  // Ends all ranks of the job with this exit code: for ranks that have diverged.
  [[noreturn]] void abort(int code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
