// Rank 0's part of a save: makes the temporary folder, and turns it into a committed step.
#pragma once

#include <cstdint>
#include <string>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"

namespace lacuna {

// Removes left-overs, checks that 1.1 times `bytes` are free, makes <step>.tmp-<generation>; its path.
// Error(Storage).
std::string make_temporary_folder(const std::string& run_folder, std::int64_t step,
                                  const SaveOptions& options, std::uint64_t bytes);

// Writes the embedded files, the configuration and state.h5; their entries.
std::vector<FileEntry> write_own_files(const std::string& folder, const CheckpointMeta& meta);

// Manifest, rename, fsync: after it returns the step exists. A step folder of that name is replaced in one
// move. Returns the committed folder. Error(Storage), or Error(Internal) when the slabs do not tile.
std::string commit_step(const std::string& run_folder, const std::string& temporary,
                        const Manifest& manifest);

// The hint `latest` and retention; problems are logged.
void after_commit(const std::string& run_folder, std::int64_t step, const SaveOptions& options);

}  // namespace lacuna
