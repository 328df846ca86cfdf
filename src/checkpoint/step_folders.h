// Names inside a run folder: step-000001200 is a committed step, ….tmp-7 one that generation 7 was writing,
// .trash-… one that is being deleted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/checkpoint/manifest.h"

namespace lacuna {

std::string step_folder_name(std::int64_t step);
// The step of exactly such a name; nothing otherwise.
std::optional<std::int64_t> step_of_folder_name(const std::string& name);
std::string temporary_folder_name(std::int64_t step, const std::string& generation);

// Steps that have a folder, newest first: all of them, and those that hold a manifest (which may be bad).
std::vector<std::int64_t> steps_with_folder(const std::string& run_folder);
std::vector<std::int64_t> committed_steps(const std::string& run_folder);

// Reads and checks a step folder's manifest, the sizes of its files, and that the folder's name tells its
// step. Error(BadInput).
Manifest load_manifest(const std::string& step_folder);

// Compares the hash of the file's bytes. Error(BadInput).
void check_file(const std::string& step_folder, const FileEntry& file);

}  // namespace lacuna
