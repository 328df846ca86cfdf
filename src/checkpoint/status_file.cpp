#include "src/checkpoint/status_file.h"

#include <filesystem>

#include "src/base/file.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

std::string status_path(const std::string& run_folder) {
  return run_folder + "/status.json";
}

}  // namespace

void write_status(const std::string& run_folder, const RunStatus& status) {
  const Json object = {{"code", status.code},
                       {"step", status.step},
                       {"checkpoint", status.checkpoint},
                       {"message", status.message}};
  // A message may quote a file's bytes: what is not UTF-8 becomes U+FFFD rather than an exception.
  write_file_atomic(status_path(run_folder),
                    object.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

bool has_status(const std::string& run_folder) {
  return std::filesystem::exists(status_path(run_folder));
}

void clear_status(const std::string& run_folder) {
  std::filesystem::remove(status_path(run_folder));
}

RunStatus read_status(const std::string& run_folder) {
  const std::string path = status_path(run_folder);
  const Json object = parse_json(read_file(path, 1 << 20, false), path);
  RunStatus status;
  status.code = static_cast<int>(json_int(object, "code", path));
  status.step = json_int(object, "step", path);
  status.checkpoint = json_string(object, "checkpoint", path);
  status.message = json_string(object, "message", path);
  return status;
}

}  // namespace lacuna
