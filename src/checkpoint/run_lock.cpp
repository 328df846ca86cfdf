#include "src/checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <utility>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

std::string identity_file(const std::string& run_folder) {
  return run_folder + "/run.json";
}

std::string new_run_id() {
  std::random_device device;
  return to_hex(static_cast<std::uint64_t>(device()) << 32 | device());
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

}  // namespace

std::optional<RunIdentity> read_run_identity(const std::string& run_folder) {
  const std::string path = identity_file(run_folder);
  if (!std::filesystem::exists(path)) return std::nullopt;
  const Json object = parse_json(read_file(path, 65536, false), path);
  RunIdentity identity;
  identity.run_id = json_string(object, "run_id", path);
  identity.generation = json_int(object, "generation", path);
  identity.host = json_string(object, "host", path, "");
  identity.pid = json_int(object, "pid", path, 0);
  return identity;
}

RunLock::RunLock(const std::string& run_folder) {
  std::error_code error;
  std::filesystem::create_directories(run_folder, error);
  LACUNA_CHECK(!error, ErrorKind::Storage, "cannot make {}: {}", run_folder, error.message());
  const std::string path = run_folder + "/run.lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  LACUNA_CHECK(fd_ >= 0, ErrorKind::Storage, "cannot open {}: {}", path, std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    ::close(std::exchange(fd_, -1));
    LACUNA_CHECK(reason == EWOULDBLOCK, ErrorKind::Storage, "cannot lock {}: {}", path,
                 std::strerror(reason));
    const RunIdentity holder = read_run_identity(run_folder).value_or(RunIdentity{});
    fail(ErrorKind::Permission, "{} is in use by process {} on {} (generation {}): wait for it or stop it",
         run_folder, holder.pid, holder.host, holder.generation);
  }
  try {
    identity_ = read_run_identity(run_folder).value_or(RunIdentity{new_run_id(), 0, "", 0});
    ++identity_.generation;
    identity_.host = host_name();
    identity_.pid = ::getpid();
    const Json object = {{"run_id", identity_.run_id},
                         {"generation", identity_.generation},
                         {"host", identity_.host},
                         {"pid", identity_.pid}};
    write_file_atomic(identity_file(run_folder), object.dump() + "\n");
  } catch (...) {
    ::close(std::exchange(fd_, -1));
    throw;
  }
}

RunLock::~RunLock() {
  if (fd_ >= 0) ::close(fd_);  // gives the lock back
}

RunLock::RunLock(RunLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), identity_(std::move(other.identity_)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(identity_, other.identity_);
  return *this;
}

}  // namespace lacuna
