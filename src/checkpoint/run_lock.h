// Who may write a run folder: one process at a time, numbered. The lock is a flock on <run>/run.lock, the
// number and the run's identity are in <run>/run.json; a process of an older generation cannot commit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lacuna {

// What run.json says.
struct RunIdentity {
  std::string run_id;           // 16 hexadecimal digits, for the folder's life
  std::int64_t generation = 0;  // grows by one with every lock
  std::string host;
  std::int64_t pid = 0;
};

// Nothing when the folder was never locked; Error(BadInput) when run.json cannot be read.
std::optional<RunIdentity> read_run_identity(const std::string& run_folder);

// Held by the one rank 0 of a run while it lives; ends with the object or the process.
class RunLock {
 public:
  // Makes the folder when it is absent. Error(Permission) names the holder when there is one, at once.
  explicit RunLock(const std::string& run_folder);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;
  const RunIdentity& identity() const { return identity_; }
  std::string generation() const { return std::to_string(identity_.generation); }
  const std::string& run_id() const { return identity_.run_id; }

 private:
  int fd_ = -1;
  RunIdentity identity_;
};

}  // namespace lacuna
