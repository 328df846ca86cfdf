// Starts programs of the build as a user does: through a shell, in a folder, with stdout and stderr kept
// apart.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace lacuna::test {

struct Ended {
  int exit_code = -1;  // -n: ended by signal n
  std::string out, err;
};

// The program `name` of the build folder, which $LACUNA_BIN names. Error(Usage) when it does not.
std::string built(const std::string& name);

// A shell command that runs in `folder`. The object outlives its process: it is ended by force when it is
// still there.
class Job {
 public:
  Job(const std::string& command, const std::string& folder);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  // To the one process that the command became (it is started by exec).
  void signal(int number) const;
  bool running();
  Ended wait();

 private:
  pid_t child_ = -1;
  int status_ = 0;
  bool ended_ = false;
  std::string out_, err_;
};

inline Ended run(const std::string& command, const std::string& folder) {
  return Job(command, folder).wait();
}

// Polls until `holds` says so; false after `seconds`.
bool eventually(const std::function<bool()>& holds, double seconds = 60);

// 'text' as one word of a shell.
std::string quoted(const std::string& text);

}  // namespace lacuna::test
