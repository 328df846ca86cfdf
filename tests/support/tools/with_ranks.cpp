// with_ranks N PROGRAM [ARGUMENTS]: runs PROGRAM as N ranks on this machine, as `train --ranks N` does.
#include <cstdlib>

#include "launch/dispatch.h"
#include "launch/mpirun.h"
#include "src/base/error.h"

int main(int argc, char** argv) {
  return lacuna::run_guarded(
      [](const std::vector<std::string>& words) -> int {
        LACUNA_CHECK(words.size() >= 2, lacuna::ErrorKind::Usage, "usage: with_ranks N PROGRAM [ARGUMENTS]");
        return lacuna::run_mpirun({std::atoi(words[0].c_str()), {words.begin() + 1, words.end()}});
      },
      {argv + 1, argv + argc});
}
