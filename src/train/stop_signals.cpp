#include "src/train/stop_signals.h"

#include <signal.h>
#include <unistd.h>

namespace lacuna {

namespace {

volatile sig_atomic_t save_asked = 0, stop_asked = 0;

void on_signal(int signal) {
  if (signal == SIGUSR1) {
    save_asked = 1;
    return;
  }
  if (signal == SIGINT && stop_asked) _exit(128 + SIGINT);
  stop_asked = 1;
}

}  // namespace

void install_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) sigaction(signal, &action, nullptr);
}

SignalFlags take_signals() {
  SignalFlags flags{save_asked != 0, stop_asked != 0};
  save_asked = 0;
  return flags;
}

}  // namespace lacuna
