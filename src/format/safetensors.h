// safetensors files: u64 header length, a JSON header, then tensors back to back (huggingface/safetensors).
// The header of a file from the network is checked completely before anything is allocated for a tensor:
// spans tile the data exactly (no hole, overlap or trailing byte), sizes are checked products, names are
// unique.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/dtype.h"
#include "src/base/file.h"

namespace lacuna {

struct SafetensorsEntry {
  std::string name;
  std::string_view dtype_name;       // as in the file: "BF16", "I8", "F8_E4M3", …; static text
  std::optional<DType> dtype;        // set for the types that this program can hold
  std::vector<std::int64_t> shape;   // [] is a scalar
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in order of `begin`
  std::map<std::string, std::string> metadata;
};

// Parses and checks a header text against the number of data bytes that follow it. Error(BadInput), one line:
// where, byte offset or tensor, rule, found.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& where);

// A mapped file. Move-only; views into it survive moves.
class SafetensorsFile {
 public:
  // `follow` false refuses a symbolic link. A text pointer of git-lfs and a renamed pickle are named as such.
  explicit SafetensorsFile(const std::string& path, bool follow = true);
  const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const SafetensorsEntry* find(std::string_view name) const;  // null when absent
  std::span<const std::byte> data(const SafetensorsEntry& entry) const;
  const std::string& path() const { return file_.path(); }
  MappedFile take_mapping() { return std::move(file_); }

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::size_t data_at_ = 0;
};

}  // namespace lacuna
