#include "src/format/detect.h"

#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/folder_file.h"
#include "src/format/llama2c.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

bool has_step(const std::string& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool digits = name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (name.starts_with("step-") && digits && in_folder(entry.path().string(), "manifest.json")) return true;
  }
  return false;
}

PathKind detect_folder(const std::string& folder) {
  if (in_folder(folder, "manifest.json")) return PathKind::Checkpoint;
  if (in_folder(folder, "config.json")) {
    const Json config = parse_json(read_in_folder(folder, "config.json", 4 << 20), folder + "/config.json");
    const bool own = config.is_object() && config.contains("model_type") && config["model_type"] == "lacuna";
    return own ? PathKind::LacunaFolder : PathKind::HfFolder;
  }
  if (has_step(folder)) return PathKind::Run;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer.bin", "vocab.json"})
    if (in_folder(folder, name)) return PathKind::Tokenizer;
  return PathKind::Unknown;
}

// llama2.c's tokenizer.bin: the length of the longest token, then score, length and bytes of each.
bool looks_like_tokenizer_bin(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < 12) return false;
  BoundedReader reader(bytes, path);
  const std::uint32_t longest = reader.u32();
  reader.f32();
  const std::int32_t length = reader.i32();
  return longest > 0 && longest < 65536 && length >= 0 && static_cast<std::uint32_t>(length) <= longest;
}

PathKind detect_file(const std::string& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  const auto starts = [&](const char* text, std::size_t count) {
    return bytes.size() >= count && std::memcmp(bytes.data(), text, count) == 0;
  };
  if (starts("\x89HDF\r\n\x1a\n", 8)) return PathKind::TokenFile;
  if (path.ends_with(".safetensors")) return PathKind::Safetensors;
  for (const char* tail : {".json", ".model", ".tiktoken"})
    if (path.ends_with(tail)) return PathKind::Tokenizer;
  if (looks_like_llama2c(path)) return PathKind::Llama2cFile;
  if (looks_like_tokenizer_bin(bytes, path)) return PathKind::Tokenizer;
  return PathKind::Unknown;
}

}  // namespace

const char* name_of(PathKind kind) {
  switch (kind) {
    case PathKind::HfFolder:
      return "hf folder";
    case PathKind::LacunaFolder:
      return "lacuna folder";
    case PathKind::Llama2cFile:
      return "llama2.c file";
    case PathKind::Checkpoint:
      return "checkpoint";
    case PathKind::Run:
      return "run";
    case PathKind::TokenFile:
      return "token file";
    case PathKind::Tokenizer:
      return "tokenizer";
    case PathKind::Safetensors:
      return "safetensors file";
    case PathKind::Unknown:
      break;
  }
  return "unknown";
}

PathKind detect(const std::string& path) {
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  LACUNA_CHECK(status.type() != fs::file_type::not_found, ErrorKind::BadInput, "{}: no such file or folder",
               printable(path));
  return fs::is_directory(status) ? detect_folder(path) : detect_file(path);
}

bool is_model(PathKind kind) {
  return kind == PathKind::HfFolder || kind == PathKind::LacunaFolder || kind == PathKind::Llama2cFile;
}

}  // namespace lacuna
