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

// Takes "--ranks N" or "--ranks=N" out of `arguments`: N, or 0 when it is not there. Error(Usage) on a bad N.
int take_ranks(std::vector<std::string>& arguments);

// Replaces this process by `own_folder()/lacuna-train verb arguments...`; or, with --ranks N and not a rank
// already, runs N of them below an mpirun and returns its exit code. Error(Usage): the program is not there,
// or libtorch is neither at $LACUNA_TORCH/lib nor where it was at build time.
int hand_over(const std::string& verb, const std::vector<std::string>& arguments);

}  // namespace lacuna
