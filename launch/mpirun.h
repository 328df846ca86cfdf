// Starting ranks on this machine: the one place that knows how mpirun has to be called. Used by
// `train --ranks N`, `recipe --ranks N` and the MPI tests. Open MPI gets what makes local runs robust: more
// ranks than cores without busy waiting, no banner in front of a one-line error, a grace time between SIGTERM
// and SIGKILL in which a run can save. Another MPI gets `mpirun -n N` alone.
#pragma once

#include <string>
#include <vector>

namespace lacuna {

struct MpirunJob {
  int ranks = 1;
  std::vector<std::string> program;  // path and arguments
  int grace_s = 120;                 // from a request to stop to the end by force
};

// What stands about the machine in the command.
struct MpirunHost {
  std::string mpirun = "mpirun";  // path, or a name to look up
  bool open_mpi = true;
  bool has_remote_shell = true;  // ssh or rsh: without one Open MPI refuses even local runs
  bool root = false;
};

// $LACUNA_MPIRUN or `mpirun` in PATH. Throws Error(Usage) when there is none, naming the package.
MpirunHost find_mpirun();

std::vector<std::string> mpirun_argv(const MpirunHost& host, const MpirunJob& job);

// "NAME=value" for the environment of that command.
std::vector<std::string> mpirun_environment(const MpirunHost& host);

// Runs mpirun to its end, passing signals on as said above; a second request to stop ends the grace. Returns
// its exit code, which is that of the rank that failed first; 128 + n when signal n ended it.
int run_mpirun(const MpirunJob& job);

// True inside a process that an mpirun or a batch system's launcher started as one of several ranks.
bool started_as_rank();

}  // namespace lacuna
