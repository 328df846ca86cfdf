// CheckpointReader: finds a committed step, and reads rectangles of its tensors with every slab's hash
// checked.
#include <algorithm>
#include <filesystem>
#include <set>

#include "src/base/convert_elements.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"
#include "src/checkpoint/newest.h"
#include "src/checkpoint/rectangle.h"
#include "src/checkpoint/slab_file.h"
#include "src/checkpoint/state_file.h"
#include "src/checkpoint/step_folders.h"

namespace lacuna {

namespace {

constexpr std::size_t kMaxEmbedded = std::size_t{1} << 31;

CheckpointMeta meta_of(const std::string& folder, const Manifest& m) {
  CheckpointMeta meta;
  meta.step = m.step;
  meta.tokens = m.tokens;
  meta.kind = m.kind;
  meta.config = m.config;
  meta.layout = m.layout;
  meta.probe.compute = m.probe_compute;
  for (const FileEntry& file : m.files) {
    if (file.role == FileRole::Slabs) continue;
    check_file(folder, file);
    const std::string path = folder + "/" + file.name;
    if (file.role == FileRole::State) read_state_file(path, m, meta);
    if (file.role == FileRole::Embedded) meta.files[file.name] = read_file(path, kMaxEmbedded, false);
    if (file.role == FileRole::Config) meta.config_ini = read_file(path, kMaxEmbedded, false);
  }
  return meta;
}

}  // namespace

struct CheckpointReader::State {
  std::string folder;
  Manifest manifest;
  CheckpointMeta meta;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::vector<std::size_t>> slabs_of;  // tensor -> indices into manifest.slabs

  // Grows while reading.
  std::map<std::string, h5::File> open_files;
  std::vector<bool> checked;         // per slab: its hash was right
  std::size_t in_memory = SIZE_MAX;  // the slab whose bytes `bytes` holds
  std::vector<std::byte> bytes;

  explicit State(const std::string& step_folder) : folder(step_folder), manifest(load_manifest(step_folder)) {
    meta = meta_of(folder, manifest);
    for (std::size_t i = 0; i < manifest.slabs.size(); ++i) {
      const SlabEntry& slab = manifest.slabs[i];
      tensors[slab.name] = {slab.dtype, slab.shape};
      slabs_of[slab.name].push_back(i);
    }
    checked.resize(manifest.slabs.size(), false);
  }

  const h5::File& file(const std::string& name) {
    auto found = open_files.find(name);
    if (found == open_files.end())
      found = open_files.emplace(name, open_slab_file(folder, name, manifest)).first;
    return found->second;
  }

  // The whole slab into `target`, its hash compared.
  void read_whole(std::size_t index, void* target) {
    const SlabEntry& slab = manifest.slabs[index];
    open_slab(file(slab.file), slab).read(target);
    LACUNA_CHECK(hash64(target, slab.bytes()) == slab.xxh3_64, ErrorKind::BadInput,
                 "{}/{}: the bytes of {} {} are damaged: their hash is not the manifest's", folder, slab.file,
                 slab.name, to_text(slab.slab));
    checked[index] = true;
  }

  // The part `what` of a slab, dense, in the slab's type. The first touch reads the whole slab to check it;
  // the last one touched stays in memory.
  void read_part(std::size_t index, const Slab& what, std::byte* target) {
    const SlabEntry& slab = manifest.slabs[index];
    if (what == slab.slab && index != in_memory) return read_whole(index, target);
    if (checked[index] && index != in_memory) {
      Slab inside = what;
      for (std::size_t d = 0; d < what.offset.size(); ++d) inside.offset[d] -= slab.slab.offset[d];
      return open_slab(file(slab.file), slab).read(inside.offset, inside.extent, target);
    }
    if (index != in_memory) {
      in_memory = SIZE_MAX;
      bytes.resize(slab.bytes());
      read_whole(index, bytes.data());
      in_memory = index;
    }
    copy_rectangle(what, slab.slab, bytes.data(), what, target, size_of(slab.dtype));
  }
};

CheckpointReader::CheckpointReader(const std::string& path, std::vector<std::string>* rejected) {
  if (std::filesystem::exists(path + "/" + kManifestName)) {
    state_ = std::make_unique<State>(path);
    return;
  }
  LACUNA_CHECK(std::filesystem::is_directory(path), ErrorKind::BadInput, "{}: no such checkpoint", path);
  std::vector<std::string> lines;
  const std::string folder = newest_checkpoint(path, &lines);
  if (rejected) *rejected = lines;
  LACUNA_CHECK(!folder.empty(), ErrorKind::BadInput, "{}: {}", path,
               lines.empty() ? std::string("holds no committed checkpoint")
                             : fmt::format("none of {} checkpoints can be used; the newest: {}", lines.size(),
                                           lines[0]));
  state_ = std::make_unique<State>(folder);
}

CheckpointReader::~CheckpointReader() = default;
const std::string& CheckpointReader::folder() const {
  return state_->folder;
}
const CheckpointMeta& CheckpointReader::meta() const {
  return state_->meta;
}
const std::string& CheckpointReader::run_id() const {
  return state_->manifest.run_id;
}
const std::string& CheckpointReader::generation() const {
  return state_->manifest.generation;
}
const std::map<std::string, TensorInfo>& CheckpointReader::tensors() const {
  return state_->tensors;
}
ContentHash CheckpointReader::content_hash() const {
  return state_->manifest.content;
}

void CheckpointReader::read(const std::string& name, const Slab& slab, DType dtype, void* dst) const {
  const auto found = state_->tensors.find(name);
  LACUNA_CHECK(found != state_->tensors.end(), ErrorKind::BadInput, "{}: no tensor '{}'", folder(),
               printable(name));
  const TensorInfo& info = found->second;
  if (is_empty(slab)) return;
  LACUNA_CHECK(lies_inside(slab, info.shape), ErrorKind::BadInput, "{}: {} {} is outside shape [{}]",
               folder(), name, to_text(slab), fmt::join(info.shape, ", "));
  LACUNA_CHECK(dtype == info.dtype || (is_floating(dtype) && is_floating(info.dtype)), ErrorKind::BadInput,
               "{}: {} is {} and cannot be read as {}", folder(), name, name_of(info.dtype), name_of(dtype));
  auto* out = static_cast<std::byte*>(dst);
  std::vector<std::byte> part, converted;
  for (std::size_t index : state_->slabs_of.at(name)) {
    const auto what = intersect(slab, state_->manifest.slabs[index].slab);
    if (!what) continue;
    if (*what == slab && dtype == info.dtype) return state_->read_part(index, *what, out);
    const auto count = static_cast<std::size_t>(what->elements());
    part.resize(count * size_of(info.dtype));
    converted.resize(count * size_of(dtype));
    state_->read_part(index, *what, part.data());
    convert_elements(part.data(), info.dtype, converted.data(), dtype, count);
    copy_rectangle(*what, *what, converted.data(), slab, out, size_of(dtype));
  }
}

void CheckpointReader::verify() const {
  State& state = *state_;
  for (const FileEntry& file : state.manifest.files) check_file(state.folder, file);
  ContentHash content;
  std::map<std::string, std::set<std::string>> expected;
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < state.manifest.slabs.size(); ++i) {
    const SlabEntry& slab = state.manifest.slabs[i];
    bytes.resize(slab.bytes());
    state.read_whole(i, bytes.data());
    add_slab(content, slab.name, slab.shape, slab.slab, slab.dtype, bytes.data());
    expected[slab.file].insert(slab.dataset);
  }
  for (const auto& [name, datasets] : expected)
    for (const std::string& dataset : state.file(name).datasets())
      LACUNA_CHECK(datasets.count(dataset), ErrorKind::BadInput, "{}/{}: dataset '{}' is not in the manifest",
                   state.folder, name, printable(dataset));
  LACUNA_CHECK(content == state.manifest.content, ErrorKind::BadInput,
               "{}: the content hash is {}, the manifest says {}", state.folder, content.hex(),
               state.manifest.content.hex());
}

}  // namespace lacuna
