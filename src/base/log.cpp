#include "src/base/log.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace lacuna {
namespace {

struct Name {
  int rank = -1;
  int world = 0;
};

// A thread that was given a rank carries it; the others (watchdog, writer) carry the process's, which only
// the main thread names.
thread_local Name thread_name;
std::atomic<int> process_rank = -1;
std::atomic<int> process_world = 0;
std::atomic<bool> quiet_lines = false;

}  // namespace

void set_log_rank(int rank, int world) {
  thread_name = {rank, world};
  if (::syscall(SYS_gettid) == ::getpid()) {
    process_rank = rank;
    process_world = world;
  }
}

void set_log_quiet(bool quiet) {
  quiet_lines = quiet;
}

void log_line(std::string_view level, std::string_view text) {
  if (level.empty() && quiet_lines) return;
  Name name = thread_name;
  if (name.rank < 0) name = {process_rank, process_world};
  std::string line;
  if (name.rank >= 0 && name.world > 1) line += fmt::format("[{}/{}] ", name.rank, name.world);
  if (!level.empty()) line += fmt::format("{}: ", level);
  line += text;
  line += '\n';
  // One write a line, so that lines of several ranks and threads do not mix.
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t done = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (done <= 0) return;  // nobody to tell
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace lacuna
