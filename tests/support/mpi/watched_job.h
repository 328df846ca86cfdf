// A program under mpirun that is about to hang, watched as training is: main, and what every rank has before
// its work begins.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "parallel/run/mpi/mpi_session.h"
#include "src/base/error.h"
#include "src/train/watchdog.h"

namespace lacuna::test {

struct WatchedRank {
  Communicator& world;
  Communicator& pipeline;  // the same ranks, named 'pp'; reports to `progress`
  Progress& progress;
  std::string mode;  // what goes wrong
  std::chrono::milliseconds deadline;
};

inline void watch(MpiSession& session, const std::string& mode, std::chrono::milliseconds deadline,
                  void (*work)(const WatchedRank&)) {
  Communicator& world = session.world();
  const auto pipeline = world.split(0, world.rank(), "pp");
  Progress progress;
  pipeline->report_to(&progress);
  WatchdogOptions options;
  options.rank = world.rank();
  options.poll = std::chrono::milliseconds(100);
  const Watchdog watchdog(progress, options);
  work({world, *pipeline, progress, mode, deadline});
}

// main of `PROGRAM MODE DEADLINE_MS`: an error is printed and ends the job with its code.
inline int watched_main(int argc, char** argv, void (*work)(const WatchedRank&)) {
  if (argc < 3) return 64;
  MpiSession session;
  try {
    watch(session, argv[1], std::chrono::milliseconds(std::atoi(argv[2])), work);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.abort(error.exit_code());
  }
  session.finalize();
  return 0;
}

}  // namespace lacuna::test
