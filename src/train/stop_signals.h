// Signals as flags: SIGUSR1 asks for a checkpoint (rank 0 decides); SIGTERM, SIGINT and SIGUSR2 (what launch/mpirun
// passes on, because mpirun forwards it) for a checkpoint and an end, whichever rank hears it; a second SIGINT ends at
// once. The flags are agreed over all ranks with the step's numbers.
#pragma once

namespace lacuna {

struct SignalFlags {
  bool save = false, stop = false;
};

// Installs the handlers for the life of the process.
void install_stop_signals();
// What was asked since the last call; `save` is cleared by reading, `stop` stays.
SignalFlags take_signals();

}  // namespace lacuna
