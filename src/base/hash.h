// Checksums: XXH3 for integrity, SHA-256 for identity of files and the manifest, and the content hash,
// a sum over elements that does not depend on how a tensor was cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lacuna {

std::uint64_t hash64(const void* data, std::size_t bytes);  // XXH3-64
std::string to_hex(std::uint64_t value);                    // 16 lower-case digits

// SHA-256 of a buffer as 64 lower-case hex digits.
std::string sha256_hex(const void* data, std::size_t bytes);

// Streaming XXH3-128 of a file's bytes.
class FileHash {
 public:
  FileHash();
  ~FileHash();
  FileHash(const FileHash&) = delete;
  FileHash& operator=(const FileHash&) = delete;
  void add(const void* data, std::size_t bytes);
  std::string hex() const;  // 32 lower-case digits

 private:
  void* state_;
};

// Two lanes of a sum modulo 2^64 over mixed (tensor name, element index, element bits). Because addition
// commutes, ranks hash their own slabs and add the results: any partition gives the same value.
struct ContentHash {
  std::uint64_t low = 0, high = 0;
  ContentHash& operator+=(const ContentHash& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
  bool operator==(const ContentHash&) const = default;
  std::string hex() const { return to_hex(high) + to_hex(low); }
};

// Adds `count` elements of `element_bytes` (1, 2, 4 or 8) that are consecutive in the global tensor `name`
// (row-major) from `first_index` on. A slab is added run by run.
void add_elements(ContentHash& hash, std::string_view name, std::uint64_t first_index, const void* data,
                  std::size_t count, std::size_t element_bytes);

}  // namespace lacuna
