// A file of named datasets over HDF5, for files that this program wrote. Opening for reading walks the whole
// file and refuses what we never write: links other than one hard link per object, external or virtual
// storage, filters except shuffle and deflate, element types other than DType's, more than two dimensions.
// Errors: Error(BadInput) when reading, Error(Storage) when writing; they name file, dataset and reason.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/h5/dataset.h"

namespace lacuna::h5 {

class File {
 public:
  // A new file; an existing one at `path` is an error. Nothing is durable before close() and an fsync.
  static File create(const std::string& path);
  // Read-only and without plugins. Neither form uses HDF5's file locks: they mislead on network file systems.
  static File open(const std::string& path);
  ~File();  // closes without a check when close() was not called
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;

  const std::string& path() const;

  // `name` is a path below the root ("tokens", "slabs/model.norm.weight"); groups are made as needed.
  Dataset create_dataset(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                         const Layout& layout = {});
  Dataset open_dataset(const std::string& name) const;
  // One dimension, written at once.
  void write_all(const std::string& name, DType dtype, std::int64_t count, const void* data);
  void write_bytes(const std::string& name, const std::string& bytes);  // U8
  // The whole of a U8 dataset; more than max_bytes is an error.
  std::string read_bytes(const std::string& name, std::int64_t max_bytes) const;

  bool has(const std::string& name) const;
  std::vector<std::string> datasets() const;  // every dataset's path without leading '/', sorted

  // Attributes of the file (of its root group). Texts are UTF-8 without NUL, at most 60,000 bytes.
  void set_attribute(const std::string& name, const std::string& value);
  void set_attribute(const std::string& name, std::int64_t value);
  bool has_attribute(const std::string& name) const;
  std::string text_attribute(const std::string& name) const;
  std::int64_t int_attribute(const std::string& name) const;

  // Flushes and closes with every return code checked; datasets of this file must be gone.
  void close();

 private:
  struct State;
  explicit File(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lacuna::h5
