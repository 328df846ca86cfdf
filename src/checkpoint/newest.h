// The newest step of a run folder that can be trusted.
#pragma once

#include <string>
#include <vector>

namespace lacuna {

// Reads the bytes of every file of each candidate, newest step first. "" when there is none; `rejected` gets
// a line for each one that was passed over.
std::string newest_checkpoint(const std::string& run_folder, std::vector<std::string>* rejected);

}  // namespace lacuna
