// `lacuna train` and `lacuna recipe` become lacuna-train, the program beside this one that links torch and
// MPI: same process, so that mpirun sees the ranks it started.
#pragma once

#include <string>
#include <vector>

#include "launch/verb.h"

namespace lacuna {

// The verbs that lacuna-train runs, for the help and the dispatch of `lacuna`.
std::vector<Verb> handed_verbs();

// Folder of the running executable.
std::string own_folder();

// Replaces this process by `own_folder()/lacuna-train verb arguments...`. Comes back only by Error(Usage):
// the program is not there, or libtorch is neither at $LACUNA_TORCH/lib nor where it was at build time.
[[noreturn]] void hand_over(const std::string& verb, const std::vector<std::string>& arguments);

}  // namespace lacuna
