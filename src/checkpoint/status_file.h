// status.json of a run folder: how the program ended, for scripts, because mpirun can replace an exit code.
// None while it runs, nor when it was killed.
#pragma once

#include <cstdint>
#include <string>

namespace lacuna {

struct RunStatus {
  int code = 0;            // exit code of the program (ErrorKind), 0: done
  std::int64_t step = 0;   // last finished step
  std::string checkpoint;  // last committed step folder; empty: none
  std::string message;     // one line
};

// Replaces the file in one step. Error(Storage).
void write_status(const std::string& run_folder, const RunStatus& status);
bool has_status(const std::string& run_folder);
void clear_status(const std::string& run_folder);
// Error(BadInput) when there is none or it cannot be read.
RunStatus read_status(const std::string& run_folder);

}  // namespace lacuna
