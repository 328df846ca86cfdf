#include "src/checkpoint/step_folders.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/checkpoint/tiling.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxManifest = 100'000'000;
constexpr const char* kPrefix = "step-";

}  // namespace

std::string step_folder_name(std::int64_t step) {
  return fmt::format("{}{:09}", kPrefix, step);
}

std::optional<std::int64_t> step_of_folder_name(const std::string& name) {
  const std::string prefix = kPrefix;
  if (name.compare(0, prefix.size(), prefix) != 0) return std::nullopt;
  const std::string digits = name.substr(prefix.size());
  if (digits.size() < 9 || digits.size() > 18) return std::nullopt;
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  const std::int64_t step = std::stoll(digits);
  if (step_folder_name(step) != name) return std::nullopt;  // one name per step
  return step;
}

std::string temporary_folder_name(std::int64_t step, const std::string& generation) {
  return step_folder_name(step) + ".tmp-" + generation;
}

std::vector<std::int64_t> steps_with_folder(const std::string& run_folder) {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_folder, error))
    if (const auto step = step_of_folder_name(entry.path().filename().string())) steps.push_back(*step);
  LACUNA_CHECK(!error, ErrorKind::BadInput, "cannot list {}: {}", run_folder, error.message());
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::vector<std::int64_t> committed_steps(const std::string& run_folder) {
  std::vector<std::int64_t> steps = steps_with_folder(run_folder);
  std::erase_if(steps, [&](std::int64_t step) {
    return !fs::exists(run_folder + "/" + step_folder_name(step) + "/" + kManifestName);
  });
  return steps;
}

Manifest load_manifest(const std::string& step_folder) {
  const std::string where = step_folder + "/" + kManifestName;
  Manifest manifest = parse_manifest(read_file(where, kMaxManifest, false), where);
  check_manifest(manifest, where, ErrorKind::BadInput);
  const auto named = step_of_folder_name(fs::path(step_folder).filename().string());
  LACUNA_CHECK(!named || *named == manifest.step, ErrorKind::BadInput,
               "{}: is of step {}, its folder's name says {}", where, manifest.step, *named);
  for (const FileEntry& file : manifest.files) {
    const std::string path = step_folder + "/" + file.name;
    struct stat status = {};
    LACUNA_CHECK(::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode), ErrorKind::BadInput,
                 "{}: listed in the manifest, but missing or not a regular file", path);
    LACUNA_CHECK(static_cast<std::uint64_t>(status.st_size) == file.bytes, ErrorKind::BadInput,
                 "{}: {} bytes, the manifest says {}", path, status.st_size, file.bytes);
  }
  return manifest;
}

void check_file(const std::string& step_folder, const FileEntry& file) {
  const std::string path = step_folder + "/" + file.name;
  const MappedFile mapped(path, false);
  FileHash hash;
  hash.add(mapped.bytes().data(), mapped.bytes().size());
  LACUNA_CHECK(hash.hex() == file.xxh3_128, ErrorKind::BadInput,
               "{}: its hash is {}, the manifest says {}: damaged, or of another checkpoint", path,
               hash.hex(), file.xxh3_128);
}

}  // namespace lacuna
