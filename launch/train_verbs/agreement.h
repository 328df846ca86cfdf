// Start-up on many ranks: every rank does the same local work (reads files, checks settings); when one fails,
// all of them leave together and one line is printed, by the lowest rank that failed.
#pragma once

#include <functional>

#include "parallel/run/communicator.h"

namespace lacuna {

// Thrown on every rank; the message has been printed already.
struct AgreedFailure {
  int code = 0;
};

// `body` must not communicate. Collective over world.
void agree(Communicator& world, const std::function<void()>& body);

}  // namespace lacuna
