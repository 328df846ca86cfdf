// The manifest of a checkpoint: what is in the step's folder, as a value and as text. The text is one JSON
// object, an entry a line; its last line holds the SHA-256 of everything before it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/arch/model_config.h"
#include "src/arch/parameters.h"
#include "src/base/dtype.h"
#include "src/base/hash.h"

namespace lacuna {

inline constexpr std::int64_t kManifestVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";

enum class FileRole : std::uint8_t {
  Slabs,     // rank-000.h5
  State,     // state.h5: the trainer's state and the probe
  Embedded,  // tokenizer and companions, bytes as they are
  Config,    // config.resolved.ini
};

struct FileEntry {
  std::string name;
  FileRole role = FileRole::Slabs;
  std::uint64_t bytes = 0;
  std::string xxh3_128;  // of the file's bytes
};

struct SlabEntry {
  std::string name;  // of the global tensor
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;  // global
  Slab slab;
  std::string file, dataset;
  std::uint64_t xxh3_64 = 0;  // of the slab's bytes, taken from memory before they were written
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(slab.elements()) * size_of(dtype); }
};

struct Manifest {
  std::string kind, run_id, generation;
  std::int64_t step = 0, tokens = 0;
  std::map<std::string, std::int64_t> layout;
  ModelConfig config;
  std::vector<std::string> state;  // names; values are in state.h5
  std::int64_t probes = 0;
  std::string probe_compute;
  ContentHash content;
  std::vector<FileEntry> files;
  std::vector<SlabEntry> slabs;

  const FileEntry* file(const std::string& name) const;  // null when absent
};

std::string to_text(const Manifest& manifest);
// Error(BadInput) with `where` on a wrong hash, another version, and whatever does not follow the form.
Manifest parse_manifest(const std::string& text, const std::string& where);

// A rank's share, sent to rank 0 as text.
struct ManifestPart {
  std::vector<FileEntry> files;
  std::vector<SlabEntry> slabs;
  ContentHash content;
};
std::string to_text(const ManifestPart& part);
ManifestPart parse_part(const std::string& text, const std::string& where);

// [A-Za-z0-9._-]{1,255} without a leading dot: a name that stays inside its folder.
bool is_plain_name(const std::string& name);

}  // namespace lacuna
