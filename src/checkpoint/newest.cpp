#include "src/checkpoint/newest.h"

#include <algorithm>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/step_folders.h"
#include "src/checkpoint/together.h"

namespace lacuna {

namespace {

void note(std::vector<std::string>* rejected, const std::string& line) {
  if (rejected) rejected->push_back(line);
}

// Every share-th file of a step from `first` on.
void check_files(const std::string& folder, std::size_t first, std::size_t share) {
  const Manifest manifest = load_manifest(folder);
  for (std::size_t i = first; i < manifest.files.size(); i += share) check_file(folder, manifest.files[i]);
}

}  // namespace

std::string newest_checkpoint(const std::string& run_folder, std::vector<std::string>* rejected) {
  for (std::int64_t step : steps_with_folder(run_folder)) {
    const std::string folder = run_folder + "/" + step_folder_name(step);
    try {
      check_files(folder, 0, 1);
      return folder;
    } catch (const Error& error) {
      note(rejected, error.what());
    }
  }
  return "";
}

std::string newest_checkpoint(const std::string& run_folder, Communicator& world,
                              std::vector<std::string>* rejected) {
  const std::string listed = rank0_alone(world, "looking for checkpoints", [&] {
    return to_text(std::filesystem::is_directory(run_folder) ? steps_with_folder(run_folder)
                                                             : std::vector<std::int64_t>{});
  });
  std::vector<std::int64_t> steps;
  from_text(listed, steps);
  for (std::int64_t step : steps) {
    const std::string folder = run_folder + "/" + step_folder_name(step);
    try {
      together(world, "checking " + folder, [&] {
        check_files(folder, static_cast<std::size_t>(world.rank()), static_cast<std::size_t>(world.size()));
        return std::string();
      });
      return folder;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::BadInput) throw;  // the ranks themselves failed, on all of them alike
      note(rejected, error.what());
    }
  }
  return "";
}

bool is_checkpoint(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return false;
  return std::filesystem::exists(path + "/" + kManifestName, error) || !committed_steps(path).empty();
}

}  // namespace lacuna
