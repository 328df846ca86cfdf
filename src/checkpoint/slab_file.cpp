#include "src/checkpoint/slab_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "src/base/error.h"
#include "src/base/fault.h"
#include "src/base/file.h"
#include "src/checkpoint/rectangle.h"

namespace lacuna {

namespace {

void sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  const bool good = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  LACUNA_CHECK(good, ErrorKind::Storage, "cannot sync {}: {}", path, std::strerror(error));
}

// "slabs/<tensor>", and "slabs/<tensor>#1" for a rank's second slab of the same tensor.
std::string dataset_name(const std::string& tensor, std::map<std::string, int>& used) {
  const int before = used[tensor]++;
  return "slabs/" + tensor + (before ? "#" + std::to_string(before) : "");
}

// The slab's elements, in `room` where they had to be made.
const void* elements_of(const TensorSlab& slab, std::vector<std::byte>& room) {
  if (slab.data) return slab.data;
  room.resize(static_cast<std::size_t>(slab.slab.elements()) * size_of(slab.dtype));
  slab.fill(room.data());
  return room.data();
}

SlabEntry write_slab(h5::File& file, const std::string& file_name, const std::string& dataset,
                     const TensorSlab& slab, const void* data) {
  SlabEntry entry{slab.name, slab.dtype, slab.shape, slab.slab, file_name, dataset, 0};
  entry.xxh3_64 = hash64(data, entry.bytes());
  h5::Dataset set = file.create_dataset(dataset, slab.dtype, slab.slab.extent);
  set.set_attribute("global_name", slab.name);
  set.set_attribute("global_shape", fmt::format("{}", fmt::join(slab.shape, " ")));
  set.set_attribute("offset", fmt::format("{}", fmt::join(slab.slab.offset, " ")));
  set.write(data);
  return entry;
}

void read_back(const std::string& folder, const std::vector<SlabEntry>& entries) {
  const h5::File file = h5::File::open(folder + "/" + entries.front().file);
  std::vector<std::byte> bytes;
  for (const SlabEntry& entry : entries) {
    bytes.resize(entry.bytes());
    open_slab(file, entry).read(bytes.data());
    LACUNA_CHECK(hash64(bytes.data(), bytes.size()) == entry.xxh3_64, ErrorKind::Storage,
                 "{}: {} does not read back as it was written", file.path(), entry.name);
  }
}

}  // namespace

std::string slab_file_name(int rank) {
  return fmt::format("rank-{:03}.h5", rank);
}

void add_slab(ContentHash& hash, const std::string& name, const std::vector<std::int64_t>& shape,
              const Slab& slab, DType dtype, const void* data) {
  const auto* bytes = static_cast<const std::byte*>(data);
  const std::size_t element = size_of(dtype);
  for_each_run(shape, slab, [&](std::int64_t first, std::int64_t count, std::int64_t local) {
    add_elements(hash, name, static_cast<std::uint64_t>(first),
                 bytes + static_cast<std::size_t>(local) * element, static_cast<std::size_t>(count), element);
  });
}

ManifestPart write_slab_file(const std::string& folder, int rank, const SaveIdentity& identity,
                             const std::vector<TensorSlab>& slabs) {
  ManifestPart part;
  const std::string name = slab_file_name(rank);
  fault_point("before_write", rank, identity.step);
  std::vector<const TensorSlab*> filled;
  for (const TensorSlab& slab : slabs)
    if (!is_empty(slab.slab)) filled.push_back(&slab);
  if (filled.empty()) return part;
  {
    h5::File file = h5::File::create(folder + "/" + name);
    file.set_attribute("format", "lacuna-checkpoint");
    file.set_attribute("step", identity.step);
    file.set_attribute("generation", identity.generation);
    file.set_attribute("run_id", identity.run_id);
    std::map<std::string, int> used;
    std::vector<std::byte> room;
    for (std::size_t i = 0; i < filled.size(); ++i) {
      if (i == filled.size() / 2) fault_point("mid_write", rank, identity.step);
      const TensorSlab& slab = *filled[i];
      const void* data = elements_of(slab, room);
      add_slab(part.content, slab.name, slab.shape, slab.slab, slab.dtype, data);
      part.slabs.push_back(write_slab(file, name, dataset_name(slab.name, used), slab, data));
    }
    fault_point("before_close", rank, identity.step);
    file.close();
  }
  fault_point("before_sync", rank, identity.step);
  part.files.push_back(sync_and_describe(folder, name, FileRole::Slabs));
  read_back(folder, part.slabs);
  fault_point("after_write", rank, identity.step);
  return part;
}

FileEntry sync_and_describe(const std::string& folder, const std::string& name, FileRole role) {
  const std::string path = folder + "/" + name;
  sync_file(path);
  const MappedFile mapped(path, false);
  FileHash hash;
  hash.add(mapped.bytes().data(), mapped.bytes().size());
  return {name, role, mapped.bytes().size(), hash.hex()};
}

h5::File open_slab_file(const std::string& folder, const std::string& name, const Manifest& manifest) {
  h5::File file = h5::File::open(folder + "/" + name);
  const std::int64_t step = file.int_attribute("step");
  LACUNA_CHECK(step == manifest.step, ErrorKind::BadInput, "{}: is of step {}, the manifest of step {}",
               file.path(), step, manifest.step);
  const std::string generation = file.text_attribute("generation"), run_id = file.text_attribute("run_id");
  LACUNA_CHECK(generation == manifest.generation, ErrorKind::BadInput,
               "{}: is of generation {}, the manifest of {}", file.path(), generation, manifest.generation);
  LACUNA_CHECK(run_id == manifest.run_id, ErrorKind::BadInput, "{}: is of run '{}', the manifest of '{}'",
               file.path(), run_id, manifest.run_id);
  return file;
}

h5::Dataset open_slab(const h5::File& file, const SlabEntry& entry) {
  h5::Dataset set = file.open_dataset(entry.dataset);
  LACUNA_CHECK(set.info().dtype == entry.dtype && set.info().shape == entry.slab.extent, ErrorKind::BadInput,
               "{}: dataset '{}' is {} [{}], the manifest says {} [{}]", file.path(), entry.dataset,
               name_of(set.info().dtype), fmt::join(set.info().shape, ", "), name_of(entry.dtype),
               fmt::join(entry.slab.extent, ", "));
  return set;
}

}  // namespace lacuna
