#include "tests/support/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna::test {

namespace {

constexpr std::size_t kMostOutput = std::size_t{1} << 26;

// Where the outputs of this process's jobs go.
std::string output_file(const char* kind) {
  static std::atomic<int> jobs = 0;
  return std::filesystem::temp_directory_path() /
         fmt::format("lacuna-job-{}-{}.{}", ::getpid(), ++jobs, kind);
}

void redirect(int descriptor, const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(126);
}

}  // namespace

std::string built(const std::string& name) {
  const char* folder = std::getenv("LACUNA_BIN");
  LACUNA_CHECK(folder, ErrorKind::Usage, "LACUNA_BIN does not name the build folder");
  return std::string(folder) + "/" + name;
}

Job::Job(const std::string& command, const std::string& folder)
    : out_(output_file("out")), err_(output_file("err")) {
  const std::string line = "exec " + command;
  child_ = ::fork();
  LACUNA_CHECK(child_ >= 0, ErrorKind::NoFit, "cannot fork");
  if (child_ > 0) return;
  redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
  redirect(STDOUT_FILENO, out_, O_WRONLY | O_CREAT | O_TRUNC);
  redirect(STDERR_FILENO, err_, O_WRONLY | O_CREAT | O_TRUNC);
  if (::chdir(folder.c_str()) == 0) ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
  ::_exit(127);
}

Job::~Job() {
  if (running()) {
    signal(SIGTERM);  // twice: a launcher of ranks ends them at the second one
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    signal(SIGTERM);
    if (!eventually([this] { return !running(); }, 10)) signal(SIGKILL);
    wait();
  }
  for (const std::string& path : {out_, err_}) ::unlink(path.c_str());
}

void Job::signal(int number) const {
  if (!ended_) ::kill(child_, number);
}

bool Job::running() {
  if (!ended_) ended_ = ::waitpid(child_, &status_, WNOHANG) == child_;
  return !ended_;
}

Ended Job::wait() {
  if (!ended_) ended_ = ::waitpid(child_, &status_, 0) == child_;
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
  return {code, read_file(out_, kMostOutput), read_file(err_, kMostOutput)};
}

bool eventually(const std::function<bool()>& holds, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace lacuna::test
