// A TensorBoard event file with scalars: length-framed records with masked CRC-32C around hand-encoded
// protobuf messages (Event, Summary). No protobuf library.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace lacuna {

std::uint32_t crc32c(std::string_view bytes);  // Castagnoli polynomial, reflected

class TensorBoardFile {
 public:
  // Creates events.out.tfevents.<seconds>.<host>.<pid>.0 in `folder`.
  explicit TensorBoardFile(const std::string& folder);
  ~TensorBoardFile();
  TensorBoardFile(const TensorBoardFile&) = delete;
  TensorBoardFile& operator=(const TensorBoardFile&) = delete;
  void scalar(const std::string& tag, std::int64_t step, double value);
  void flush();

 private:
  void record(std::string_view event);
  std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace lacuna
