#include "launch/train_verbs/run_folder.h"

#include <filesystem>
#include <vector>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"
#include "src/checkpoint/status_file.h"
#include "src/checkpoint/step_folders.h"

namespace lacuna {

namespace {

namespace fs = std::filesystem;

// Whether `path` is `folder` or lies below it.
bool is_within(const std::string& path, const std::string& folder) {
  if (path.empty()) return false;
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

void check_run_folder(const TrainingJob& job) {
  const std::string out = printable(job.out);
  if (!fs::exists(job.out)) return;
  LACUNA_CHECK(fs::is_directory(job.out), ErrorKind::Usage, "--out {} is a file, wanted a folder", out);
  LACUNA_CHECK(!fs::exists(job.out + "/" + kManifestName), ErrorKind::Usage,
               "--out {} is one checkpoint of a run: give the run's folder to go on with it", out);
  if (fs::is_empty(job.out)) return;
  LACUNA_CHECK(read_run_identity(job.out) || is_checkpoint(job.out), ErrorKind::Usage,
               "--out {} exists and is no run: choose another folder", out);
  if (!job.force) {
    LACUNA_CHECK(job.options.resume != "never" || !is_checkpoint(job.out), ErrorKind::Usage,
                 "--out {} holds checkpoints and --resume is never: choose another folder, or say --force to "
                 "replace it",
                 out);
    return;
  }
  for (const auto& [flag, path] :
       {std::pair{"--model", job.model}, {"--parent", job.parent}, {"--data", job.options.data}})
    LACUNA_CHECK(!is_within(path, job.out), ErrorKind::Usage,
                 "--force would delete {} {} together with --out {}: choose another folder", flag,
                 printable(path), out);
}

RunLock take_run_folder(const TrainingJob& job) {
  RunLock lock(job.out);
  clear_status(job.out);
  if (job.force) {
    std::vector<fs::path> old;
    for (const fs::directory_entry& entry : fs::directory_iterator(job.out))
      if (entry.path().filename() != "run.lock" && entry.path().filename() != "run.json")
        old.push_back(entry.path());
    for (const fs::path& path : old) fs::remove_all(path);
  }
  write_file_atomic(job.out + "/config.resolved.ini", job.config_ini);
  return lock;
}

void record_failure(const TrainingJob& job, int code, std::int64_t step,
                    const std::string& message) noexcept {
  try {
    if (!job.holds_folder || has_status(job.out)) return;
    const std::vector<std::int64_t> steps = committed_steps(job.out);
    write_status(job.out,
                 {code, step, steps.empty() ? "" : job.out + "/" + step_folder_name(steps.front()), message});
  } catch (const std::exception& second) {
    log_line("warning", std::string("no status.json: ") + second.what());
  }
}

}  // namespace lacuna
