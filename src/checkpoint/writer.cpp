// save_checkpoint: prepare, write, commit; between two of them all ranks agree that all is well.
#include <algorithm>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/file.h"
#include "src/base/math.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/commit.h"
#include "src/checkpoint/rectangle.h"
#include "src/checkpoint/slab_file.h"
#include "src/checkpoint/state_file.h"
#include "src/checkpoint/step_folders.h"
#include "src/checkpoint/together.h"

namespace lacuna {

namespace {

constexpr std::int64_t kRoomPerRank = 1 << 20;  // headers of the HDF5 files, manifest, state

// Bytes of this rank's slabs; a slab that cannot be written is our own mistake.
std::int64_t checked_bytes(const std::vector<TensorSlab>& slabs) {
  std::int64_t bytes = 0;
  for (const TensorSlab& slab : slabs) {
    if (is_empty(slab.slab)) continue;
    LACUNA_CHECK(lies_inside(slab.slab, slab.shape) && slab.shape.size() <= h5::kMaxRank &&
                     (slab.data != nullptr || slab.fill) && !slab.name.empty() && slab.name.find('/') == std::string::npos,
                 ErrorKind::Internal, "slab {} of tensor '{}' of shape [{}] cannot be saved",
                 to_text(slab.slab), printable(slab.name), fmt::join(slab.shape, ", "));
    std::int64_t size = static_cast<std::int64_t>(size_of(slab.dtype));
    for (std::int64_t extent : slab.slab.extent) size = checked_mul(size, extent, "bytes of a slab");
    bytes = checked_add(bytes, size, "bytes of a rank");
  }
  return bytes;
}

std::int64_t bytes_of_files(const CheckpointMeta& meta) {
  std::size_t bytes = meta.config_ini.size();
  for (const auto& [name, text] : meta.files) bytes += text.size();
  for (const auto& [name, text] : meta.state) bytes += text.size();
  return static_cast<std::int64_t>(bytes);
}

// What the ranks must know of rank 0 before they write.
struct Plan {
  std::string folder;
  SaveIdentity identity;
};

std::string to_text(const Plan& plan) {
  const auto& id = plan.identity;
  return lacuna::to_text(
      std::vector<std::string>{plan.folder, lacuna::to_text(id.step), id.generation, id.run_id});
}

Plan parse_plan(const std::string& text) {
  std::vector<std::string> parts;
  from_text(text, parts);
  LACUNA_ASSERT(parts.size() == 4);
  Plan plan{parts[0], {0, parts[2], parts[3]}};
  from_text(parts[1], plan.identity.step);
  return plan;
}

// A file that was just written and cannot be read back is a storage problem.
std::string as_storage(const std::function<std::string()>& body) {
  try {
    return body();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::BadInput) throw Error(ErrorKind::Storage, error.what());
    throw;
  }
}

Plan prepare(const std::string& run_folder, Communicator& world, const std::string& doing,
             const CheckpointMeta& meta, const std::vector<TensorSlab>& slabs, const SaveOptions& options) {
  std::int64_t total = world.size() * kRoomPerRank + bytes_of_files(meta);
  for (const std::string& bytes :
       together(world, doing, [&] { return lacuna::to_text(checked_bytes(slabs)); })) {
    std::int64_t of_rank = 0;
    from_text(bytes, of_rank);
    total = checked_add(total, of_rank, "bytes of a checkpoint");
  }
  return parse_plan(rank0_alone(world, doing, [&] {
    return as_storage([&] {
      const std::string folder =
          make_temporary_folder(run_folder, meta.step, options, static_cast<std::uint64_t>(total));
      return to_text(Plan{folder, {meta.step, options.generation, options.run_id}});
    });
  }));
}

Manifest assemble(const CheckpointMeta& meta, const SaveIdentity& identity, std::vector<FileEntry> own_files,
                  const std::vector<std::string>& parts) {
  Manifest m;
  m.kind = meta.kind;
  m.run_id = identity.run_id;
  m.generation = identity.generation;
  m.step = identity.step;
  m.tokens = meta.tokens;
  m.layout = meta.layout;
  m.config = meta.config;
  for (const auto& [name, bytes] : meta.state) m.state.push_back(name);
  m.probes = static_cast<std::int64_t>(meta.probe.sequences.size());
  m.probe_compute = meta.probe.compute;
  m.files = std::move(own_files);
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    const ManifestPart part = parse_part(parts[rank], fmt::format("rank {}'s part of the manifest", rank));
    m.files.insert(m.files.end(), part.files.begin(), part.files.end());
    m.slabs.insert(m.slabs.end(), part.slabs.begin(), part.slabs.end());
    m.content += part.content;
  }
  std::stable_sort(m.slabs.begin(), m.slabs.end(), [](const SlabEntry& a, const SlabEntry& b) {
    return a.name != b.name ? a.name < b.name : a.slab.offset < b.slab.offset;
  });
  return m;
}

// The probe of the first rank that has one.
Probe gather_probe(Communicator& world, const std::string& doing, const Probe& mine) {
  for (const std::string& packed : together(world, doing, [&] { return pack_probe(mine); }))
    if (!packed.empty() && world.rank() == 0) return unpack_probe(packed);
  return {};
}

std::string write_and_commit(const std::string& run_folder, Communicator& world, const std::string& doing,
                             const Plan& plan, CheckpointMeta meta, const std::vector<TensorSlab>& slabs) {
  meta.probe = gather_probe(world, doing, meta.probe);
  std::vector<FileEntry> own_files;
  const std::vector<std::string> parts = together(world, doing, [&] {
    return as_storage([&] {
      const ManifestPart part = write_slab_file(plan.folder, world.rank(), plan.identity, slabs);
      if (world.rank() == 0) own_files = write_own_files(plan.folder, meta);
      fsync_folder(plan.folder);
      return lacuna::to_text(part);
    });
  });
  return rank0_alone(world, doing, [&] {
    return as_storage([&] {
      return commit_step(run_folder, plan.folder, assemble(meta, plan.identity, own_files, parts));
    });
  });
}

}  // namespace

std::string save_checkpoint(const std::string& run_folder, Communicator& world, const CheckpointMeta& meta,
                            const std::vector<TensorSlab>& slabs, const SaveOptions& options) {
  const std::string doing = fmt::format("saving step {} in {}", meta.step, run_folder);
  std::string folder;
  try {
    const Plan plan = prepare(run_folder, world, doing, meta, slabs, options);
    folder = write_and_commit(run_folder, world, doing, plan, meta, slabs);
  } catch (const Error&) {
    std::error_code ignored;  // what cannot be removed now is removed by the next save
    if (world.rank() == 0)
      std::filesystem::remove_all(run_folder + "/" + temporary_folder_name(meta.step, options.generation),
                                  ignored);
    throw;
  }
  if (world.rank() == 0) after_commit(run_folder, meta.step, options);
  world.barrier();
  return folder;
}

}  // namespace lacuna
