#include "src/convert/output_folder.h"

#include <unistd.h>

#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

bool is_empty_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::is_empty(path, ignored);
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path, bool force,
                           const std::function<bool(const std::string&)>& replaceable) {
  path_ = path;
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  LACUNA_CHECK(!path_.empty(), ErrorKind::Usage, "--out is empty");
  if (fs::exists(fs::symlink_status(path_)) && !is_empty_folder(path_)) {
    LACUNA_CHECK(force, ErrorKind::Usage,
                 "{}: already exists; name a new folder, or add --force to replace it", printable(path_));
    LACUNA_CHECK(fs::is_directory(path_) && replaceable(path_), ErrorKind::Usage,
                 "{}: --force replaces only what this verb has written, and this is something else",
                 printable(path_));
  }
  temporary_ = path_ + ".tmp-" + std::to_string(::getpid());
  std::error_code problem;
  fs::remove_all(temporary_, problem);
  fs::create_directories(temporary_, problem);
  LACUNA_CHECK(!problem, ErrorKind::Storage, "cannot make {}: {}", printable(temporary_), problem.message());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void OutputFolder::commit() {
  const std::string old = path_ + ".old-" + std::to_string(::getpid());
  std::error_code problem;
  fsync_folder(temporary_);
  const bool replaces = fs::exists(path_);
  if (replaces) fs::rename(path_, old, problem);
  if (!problem) fs::rename(temporary_, path_, problem);
  if (problem && replaces) {
    std::error_code ignored;
    fs::rename(old, path_, ignored);
  }
  LACUNA_CHECK(!problem, ErrorKind::Storage, "cannot put {} in place: {}", printable(path_),
               problem.message());
  committed_ = true;
  const fs::path parent = fs::absolute(path_).parent_path();
  fsync_folder(parent.string());
  fs::remove_all(old, problem);
}

}  // namespace lacuna
