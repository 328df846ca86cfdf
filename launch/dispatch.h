// From argv to a verb's exit code: finds the verb, runs it, turns an Error into one line on stderr and its
// kind into the exit code.
#pragma once

#include <string>
#include <vector>

#include "launch/verb.h"

namespace lacuna {

int run_program(const std::vector<Verb>& verbs, int argc, char** argv);

// Runs `body` as run_program runs a verb: the exit code, with exceptions as one line on stderr.
int run_guarded(int (*body)(const std::vector<std::string>&), const std::vector<std::string>& arguments);

// The page of `lacuna --help`.
std::string program_help(const std::vector<Verb>& verbs);

}  // namespace lacuna
