#include "src/checkpoint/commit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/fault.h"
#include "src/base/fields.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/checkpoint/retention.h"
#include "src/checkpoint/run_lock.h"
#include "src/checkpoint/slab_file.h"
#include "src/checkpoint/state_file.h"
#include "src/checkpoint/step_folders.h"
#include "src/checkpoint/tiling.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfigFile = "config.resolved.ini";

// A process that outlived its run must not commit into the folder of its successor.
void check_generation(const std::string& run_folder, const std::string& generation) {
  const auto owner = read_run_identity(run_folder);
  if (!owner) return;
  std::int64_t mine = 0;
  from_text(generation, mine);
  LACUNA_CHECK(mine == owner->generation, ErrorKind::Storage,
               "{} belongs to generation {} (process {} on {}) now; generation {} may not commit", run_folder,
               owner->generation, owner->pid, owner->host, mine);
}

void check_sizes(const std::string& folder, const Manifest& manifest) {
  for (const FileEntry& file : manifest.files) {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(folder + "/" + file.name, error);
    LACUNA_CHECK(!error && bytes == file.bytes, ErrorKind::Storage,
                 "{}/{}: {} bytes were written, {} are there", folder, file.name, file.bytes,
                 error ? 0 : bytes);
  }
}

// One move, also when `to` exists: then the two change places and the old one is removed afterwards.
void publish(const std::string& from, const std::string& to) {
  const bool replaces = fs::exists(to);
  int result = replaces ? ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE)
                        : ::rename(from.c_str(), to.c_str());
  LACUNA_CHECK(result == 0, ErrorKind::Storage, "cannot rename {} to {}: {}{}", from, to,
               std::strerror(errno), replaces ? " (a step of that number is there; move it away)" : "");
}

}  // namespace

std::string make_temporary_folder(const std::string& run_folder, std::int64_t step,
                                  const SaveOptions& options, std::uint64_t bytes) {
  std::error_code error;
  fs::create_directories(run_folder, error);
  LACUNA_CHECK(!error, ErrorKind::Storage, "cannot make {}: {}", run_folder, error.message());
  check_generation(run_folder, options.generation);
  remove_left_overs(run_folder, step, options.generation);
  const fs::space_info space = fs::space(run_folder, error);
  const std::uint64_t wanted = bytes + bytes / 10;
  LACUNA_CHECK(!error && space.available >= wanted, ErrorKind::Storage,
               "{}: {:.2f} GB are free, a checkpoint needs {:.2f} GB", run_folder,
               static_cast<double>(error ? 0 : space.available) * 1e-9, static_cast<double>(wanted) * 1e-9);
  const std::string folder = run_folder + "/" + temporary_folder_name(step, options.generation);
  fs::create_directory(folder, error);
  LACUNA_CHECK(!error, ErrorKind::Storage, "cannot make {}: {}", folder, error.message());
  fault_point("after_prepare", 0, step);
  return folder;
}

std::vector<FileEntry> write_own_files(const std::string& folder, const CheckpointMeta& meta) {
  std::vector<FileEntry> out;
  for (const auto& [name, bytes] : meta.files) {
    LACUNA_CHECK(is_plain_name(name) && name != kManifestName && name != kStateFile && name != kConfigFile &&
                     name.rfind("rank-", 0) != 0,
                 ErrorKind::Internal, "'{}' cannot be the name of a file in a checkpoint", printable(name));
    write_file_atomic(folder + "/" + name, bytes);
    out.push_back(sync_and_describe(folder, name, FileRole::Embedded));
  }
  if (!meta.config_ini.empty()) {
    write_file_atomic(folder + "/" + kConfigFile, meta.config_ini);
    out.push_back(sync_and_describe(folder, kConfigFile, FileRole::Config));
  }
  write_state_file(folder + "/" + kStateFile, meta);
  out.push_back(sync_and_describe(folder, kStateFile, FileRole::State));
  return out;
}

std::string commit_step(const std::string& run_folder, const std::string& temporary,
                        const Manifest& manifest) {
  const std::string folder = run_folder + "/" + step_folder_name(manifest.step);
  check_manifest(manifest, folder, ErrorKind::Internal);
  check_sizes(temporary, manifest);
  fault_point("before_manifest", 0, manifest.step);
  write_file_atomic(temporary + "/" + kManifestName, to_text(manifest));
  fault_point("after_manifest", 0, manifest.step);
  check_generation(run_folder, manifest.generation);
  fault_point("before_rename", 0, manifest.step);
  publish(temporary, folder);
  fsync_folder(run_folder);
  return folder;
}

void after_commit(const std::string& run_folder, std::int64_t step, const SaveOptions& options) {
  try {
    fault_point("after_rename", 0, step);
    write_file_atomic(run_folder + "/latest", step_folder_name(step) + "\n");
    fault_point("after_latest", 0, step);
    delete_steps(run_folder, steps_to_delete(committed_steps(run_folder), step, options));
    remove_left_overs(run_folder, step, options.generation);
  } catch (const Error& error) {
    log_warning("checkpoint of step {} is committed, but: {}", step, error.what());
  }
}

}  // namespace lacuna
