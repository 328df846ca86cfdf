#include "src/format/folder_file.h"

#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

bool lies_in(const fs::path& file, const fs::path& folder) {
  const fs::path relative = file.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != ".." && *relative.begin() != ".";
}

}  // namespace

void check_plain_name(const std::string& name, const std::string& where) {
  bool plain = !name.empty() && name.size() <= 255 && name.front() != '.';
  for (const char c : name)
    plain = plain && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-');
  LACUNA_CHECK(plain, ErrorKind::BadInput,
               "{}: file name '{}' is not allowed (letters, digits, '.', '_', '-')", where,
               printable(name.substr(0, 300)));
}

bool in_folder(const std::string& folder, const std::string& name) {
  std::error_code ignored;
  return fs::symlink_status(fs::path(folder) / name, ignored).type() != fs::file_type::not_found && !ignored;
}

std::string file_in_folder(const std::string& folder, const std::string& name) {
  const fs::path path = fs::path(folder) / name;
  std::error_code problem;
  const fs::file_status status = fs::symlink_status(path, problem);
  LACUNA_CHECK(status.type() != fs::file_type::not_found, ErrorKind::BadInput, "{}: no such file",
               path.string());
  if (status.type() != fs::file_type::symlink) return path.string();
  const fs::path target = fs::canonical(path, problem);
  LACUNA_CHECK(!problem, ErrorKind::BadInput, "{}: a symbolic link to nowhere ({})", path.string(),
               problem.message());
  const fs::path home = fs::canonical(folder);
  const bool cached = home.parent_path().filename() == "snapshots" &&
                      lies_in(target, home.parent_path().parent_path() / "blobs");
  LACUNA_CHECK(lies_in(target, home) || cached, ErrorKind::BadInput,
               "{}: a symbolic link out of its folder, to {}; copy the file", path.string(),
               printable(target.string()));
  return target.string();
}

std::string read_in_folder(const std::string& folder, const std::string& name, std::size_t max_bytes) {
  return read_file(file_in_folder(folder, name), max_bytes, false);
}

}  // namespace lacuna
