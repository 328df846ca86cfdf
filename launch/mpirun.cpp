#include "launch/mpirun.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/log.h"

namespace lacuna {
namespace {

// The first executable `name` in PATH, or "".
std::string in_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::string rest = path ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

// Whether `mpirun --version` names Open MPI.
bool is_open_mpi(const std::string& mpirun) {
  std::string quoted = "'";
  for (const char c : mpirun) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  FILE* pipe = ::popen((quoted + "' --version 2>/dev/null").c_str(), "r");
  if (!pipe) return false;
  char text[256] = {};
  const std::size_t got = std::fread(text, 1, sizeof text - 1, pipe);
  ::pclose(pipe);
  return std::string(text, got).find("Open MPI") != std::string::npos;
}

// The child's side: an own process group, so that Ctrl-C reaches the supervisor alone; ends with its parent.
[[noreturn]] void become_mpirun(const MpirunHost& host, const MpirunJob& job) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int nothing = ::open("/dev/null", O_RDONLY);  // a background group must not read the terminal
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  for (const std::string& setting : mpirun_environment(host)) {
    const std::size_t equals = setting.find('=');
    ::setenv(setting.substr(0, equals).c_str(), setting.c_str() + equals + 1, 1);
  }
  std::vector<std::string> words = mpirun_argv(host, job);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(host.mpirun.c_str(), argv.data());
  log_line("error", fmt::format("cannot start {}: {}", printable(host.mpirun), std::strerror(errno)));
  ::_exit(static_cast<int>(ErrorKind::Usage));
}

// Waits for the child and passes signals on, which are blocked and taken one by one.
int supervise(pid_t child, const sigset_t& watched, int grace_s) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point deadline = Clock::time_point::max();
  // An mpirun that is still starting its ranks loses what it should pass on, so a young one is asked again.
  const Clock::time_point young_until = Clock::now() + std::chrono::seconds(30);
  Clock::time_point remind = Clock::time_point::max();
  int asked = 0;  // the signal that asked to stop
  int force = 0;  // what ends the child when the grace is over: first SIGTERM, then SIGKILL to its group
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return asked && code == 128 + SIGUSR2 ? 128 + asked : code;  // ended before anyone listened to it
    }
    const timespec nap = {0, 200'000'000};
    const int signal = ::sigtimedwait(&watched, nullptr, &nap);
    const bool stop = signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
    if (signal == SIGUSR1) ::kill(child, SIGUSR1);
    if (stop && deadline == Clock::time_point::max()) {
      log_info("stopping: the ranks have {} s to save (once more ends them now)", grace_s);
      asked = signal;
      ::kill(child, SIGUSR2);
      deadline = Clock::now() + std::chrono::seconds(grace_s);
      remind = Clock::now() + std::chrono::seconds(3);
    } else if (stop) {
      deadline = Clock::now();
    }
    if (Clock::now() >= remind && Clock::now() < young_until) {
      ::kill(child, SIGUSR2);
      remind = Clock::now() + std::chrono::seconds(3);
    }
    if (Clock::now() < deadline) continue;
    force = force == 0 ? SIGTERM : SIGKILL;
    ::kill(force == SIGKILL ? -child : child, force);
    deadline = Clock::now() + std::chrono::seconds(5);
  }
}

}  // namespace

MpirunHost find_mpirun() {
  const char* named = std::getenv("LACUNA_MPIRUN");
  MpirunHost host;
  host.mpirun = in_path(named ? named : "mpirun");
  LACUNA_CHECK(!host.mpirun.empty(), ErrorKind::Usage,
               "no {}: install openmpi-bin, or set LACUNA_MPIRUN to your MPI's launcher",
               named ? printable(named) : "mpirun in PATH");
  host.open_mpi = is_open_mpi(host.mpirun);
  host.has_remote_shell = !in_path("ssh").empty() || !in_path("rsh").empty();
  host.root = ::geteuid() == 0;
  return host;
}

std::vector<std::string> mpirun_argv(const MpirunHost& host, const MpirunJob& job) {
  std::vector<std::string> argv = {host.mpirun};
  const auto add = [&](std::initializer_list<std::string> words) { argv.insert(argv.end(), words); };
  if (host.open_mpi) {
    add({"-q", "--oversubscribe", "--bind-to", "none"});
    add({"--mca", "mpi_yield_when_idle", "1"});
    if (!host.has_remote_shell) add({"--mca", "plm_rsh_agent", "/bin/true"});  // must exist, is never run
  }
  add({"-n", std::to_string(job.ranks)});
  argv.insert(argv.end(), job.program.begin(), job.program.end());
  return argv;
}

std::vector<std::string> mpirun_environment(const MpirunHost& host) {
  if (!host.open_mpi || !host.root) return {};
  return {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
}

int run_mpirun(const MpirunJob& job) {
  LACUNA_CHECK(job.ranks >= 1, ErrorKind::Usage, "{} ranks, wanted at least 1", job.ranks);
  const MpirunHost host = find_mpirun();
  sigset_t watched, before;
  sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) sigaddset(&watched, signal);
  ::sigprocmask(SIG_BLOCK, &watched, &before);  // they wait for supervise()
  const pid_t child = ::fork();
  LACUNA_CHECK(child >= 0, ErrorKind::NoFit, "cannot start {}: {}", printable(host.mpirun),
               std::strerror(errno));
  if (child == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    become_mpirun(host, job);
  }
  const int code = supervise(child, watched, job.grace_s);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return code;
}

bool started_as_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(name)) return true;
  return false;
}

}  // namespace lacuna
