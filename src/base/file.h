// Files as bytes: bounded reading, mapping, atomic replacement. Only regular files are read; a symbolic link,
// FIFO, folder or device is refused where `follow` is false. Errors: Error(BadInput) for what is read,
// Error(Storage) for what is written; they name the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lacuna {

std::string read_file(const std::string& path, std::size_t max_bytes, bool follow = true);

// Temporary name, write, fsync, rename, fsync of the folder.
void write_file_atomic(const std::string& path, std::string_view bytes);

void fsync_folder(const std::string& path);

// A read-only mapping of a whole file.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path, bool follow = true);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Reads fixed-size little-endian values from a byte range; every read checks what remains first and fails
// with Error(BadInput) that names `where` and the offset.
class BoundedReader {
 public:
  BoundedReader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}
  std::size_t remaining() const { return bytes_.size() - at_; }
  std::size_t offset() const { return at_; }
  std::span<const std::byte> take(std::size_t count);
  std::uint8_t u8();
  std::uint32_t u32();
  std::int32_t i32();
  std::uint64_t u64();
  float f32();

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  std::size_t at_ = 0;
};

// Control characters and bytes that are not printable ASCII or UTF-8 as \xHH: for names in error messages.
std::string printable(std::string_view text);

}  // namespace lacuna
