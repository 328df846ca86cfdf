// A dataset of an h5::File: one or two dimensions of one DType, row-major, read and written whole or by
// rectangle. HDF5 never converts: BF16 and F16 lie in the file as uint16, the attribute "dtype" says which.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/base/dtype.h"

namespace lacuna::h5 {

inline constexpr std::size_t kMaxRank = 2;

// How a new dataset lies in its file.
struct Layout {
  std::int64_t chunk_rows = 0;  // 0: contiguous, fixed size; else chunks of so many whole rows, growable
  bool compress = false;        // shuffle + gzip 1 (chunked only)
};

struct DatasetInfo {
  DType dtype = DType::U8;
  std::vector<std::int64_t> shape;
  std::int64_t chunk_rows = 0;  // 0: contiguous
  bool compressed = false;
  std::int64_t elements() const;
  std::int64_t bytes() const;
};

class File;

// Must not outlive its file. Bytes in memory have exactly info().dtype.
class Dataset {
 public:
  ~Dataset();
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;

  const std::string& name() const;
  const DatasetInfo& info() const;

  void write(const void* data);
  void write(const std::vector<std::int64_t>& offset, const std::vector<std::int64_t>& extent,
             const void* data);
  void read(void* data) const;
  void read(const std::vector<std::int64_t>& offset, const std::vector<std::int64_t>& extent,
            void* data) const;
  // Chunked datasets: sets the number of rows (dimension 0).
  void resize(std::int64_t rows);

  void set_attribute(const std::string& name, const std::string& value);
  void set_attribute(const std::string& name, std::int64_t value);
  bool has_attribute(const std::string& name) const;
  std::string text_attribute(const std::string& name) const;
  std::int64_t int_attribute(const std::string& name) const;

 private:
  friend class File;
  struct State;
  explicit Dataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lacuna::h5
