// From argv to a verb's exit code: finds the verb, runs it, turns an Error into one line on stderr and its
// kind into the exit code.
#pragma once

#include <vector>

#include "launch/verb.h"

namespace lacuna {

int run_program(const std::vector<Verb>& verbs, int argc, char** argv);

}  // namespace lacuna
