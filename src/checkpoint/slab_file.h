// rank-000.h5 of a checkpoint: one dataset per slab, contiguous, with the slab's place as attributes.
#pragma once

#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"
#include "src/h5/file.h"

namespace lacuna {

// Whose bytes a file holds; each rank's file repeats it, so that files of two saves cannot be mixed.
struct SaveIdentity {
  std::int64_t step = 0;
  std::string generation, run_id;
};

std::string slab_file_name(int rank);

// Adds the elements of a dense buffer of `slab` to the hash of the tensors.
void add_slab(ContentHash& hash, const std::string& name, const std::vector<std::int64_t>& shape,
              const Slab& slab, DType dtype, const void* data);

// Hashes each slab in memory (one at a time, where it has yet to be made), writes all into a new file of
// `folder`, syncs it, reads it back and compares. Without a slab that is not empty nothing is written.
// Error(Storage).
ManifestPart write_slab_file(const std::string& folder, int rank, const SaveIdentity& identity,
                             const std::vector<TensorSlab>& slabs);

// Opens a rank's file and compares its identity with the manifest's. Error(BadInput).
h5::File open_slab_file(const std::string& folder, const std::string& name, const Manifest& manifest);

// The entry's dataset with type and shape compared. Error(BadInput).
h5::Dataset open_slab(const h5::File& file, const SlabEntry& entry);

// The FileEntry of a finished file, from its bytes; syncs it to the disk.
FileEntry sync_and_describe(const std::string& folder, const std::string& name, FileRole role);

}  // namespace lacuna
