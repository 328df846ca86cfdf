#include "src/checkpoint/retention.h"

#include <algorithm>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/fault.h"
#include "src/base/file.h"
#include "src/checkpoint/step_folders.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

constexpr const char* kTrash = ".trash-";

void remove_folder(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  LACUNA_CHECK(!error, ErrorKind::Storage, "cannot remove {}: {}", path.string(), error.message());
}

// True for "step-000000012.tmp-7" unless it is generation 7's own at another step (a save under way).
bool is_left_over(const std::string& name, std::int64_t step, const std::string& generation) {
  if (name.rfind(kTrash, 0) == 0) return true;
  const std::size_t dot = name.find(".tmp-");
  if (dot == std::string::npos || !step_of_folder_name(name.substr(0, dot))) return false;
  return name.substr(dot + 5) != generation || name == temporary_folder_name(step, generation);
}

}  // namespace

std::vector<std::int64_t> steps_to_delete(const std::vector<std::int64_t>& steps, std::int64_t saved,
                                          const SaveOptions& options) {
  std::vector<std::int64_t> newest_first = steps, out;
  std::sort(newest_first.rbegin(), newest_first.rend());
  const auto keep_last = static_cast<std::size_t>(std::max(options.keep_last, 1));
  for (std::size_t i = keep_last; i < newest_first.size(); ++i) {
    const std::int64_t step = newest_first[i];
    const bool kept_forever = options.keep_every > 0 && step % options.keep_every == 0;
    if (!kept_forever && step != saved && step != options.resumed_from) out.push_back(step);
  }
  return out;
}

void delete_steps(const std::string& run_folder, const std::vector<std::int64_t>& steps) {
  std::vector<fs::path> trash;
  for (std::int64_t step : steps) {
    const fs::path from = fs::path(run_folder) / step_folder_name(step);
    const fs::path to = fs::path(run_folder) / (kTrash + step_folder_name(step));
    std::error_code error;
    fs::rename(from, to, error);
    LACUNA_CHECK(!error, ErrorKind::Storage, "cannot rename {}: {}", from.string(), error.message());
    trash.push_back(to);
  }
  if (!trash.empty()) fsync_folder(run_folder);
  for (const fs::path& path : trash) {
    fault_point("mid_delete", 0);
    remove_folder(path);
  }
}

void remove_left_overs(const std::string& run_folder, std::int64_t step, const std::string& generation) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_folder, error))
    if (is_left_over(entry.path().filename().string(), step, generation)) found.push_back(entry.path());
  LACUNA_CHECK(!error, ErrorKind::Storage, "cannot list {}: {}", run_folder, error.message());
  for (const fs::path& path : found) remove_folder(path);
}

}  // namespace lacuna
