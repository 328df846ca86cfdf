#include "src/train/tensorboard.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value & 1 ? (value >> 1) ^ 0x82f63b78u : value >> 1;
    table[i] = value;
  }
  return table;
}();

std::string raw(const void* data, std::size_t bytes) {
  return {static_cast<const char*>(data), bytes};
}

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

std::string key(int field, int wire_type) {
  return varint(static_cast<std::uint64_t>(field << 3 | wire_type));
}
std::string bytes_field(int field, const std::string& value) {
  return key(field, 2) + varint(value.size()) + value;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Event { 1: double wall_time, 2: int64 step, ... }
std::string event_head(std::int64_t step) {
  const double time = now_seconds();
  return key(1, 1) + raw(&time, 8) + key(2, 0) + varint(static_cast<std::uint64_t>(step));
}

std::uint32_t masked(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t value = 0xffffffffu;
  for (char c : bytes) value = kCrcTable[(value ^ static_cast<unsigned char>(c)) & 0xff] ^ (value >> 8);
  return ~value;
}

TensorBoardFile::TensorBoardFile(const std::string& folder) {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  path_ = fmt::format("{}/events.out.tfevents.{:010d}.{}.{}.0", folder, static_cast<long>(now_seconds()),
                      host, getpid());
  file_ = std::fopen(path_.c_str(), "ab");
  LACUNA_CHECK(file_, ErrorKind::Storage, "cannot open {}: {}", path_, std::strerror(errno));
  record(event_head(0) + bytes_field(3, "brain.Event:2"));
}

TensorBoardFile::~TensorBoardFile() {
  if (file_) std::fclose(file_);
}

void TensorBoardFile::scalar(const std::string& tag, std::int64_t step, double value) {
  const float number = static_cast<float>(value);
  const std::string entry = bytes_field(1, tag) + key(2, 5) + raw(&number, 4);  // Summary.Value
  record(event_head(step) + bytes_field(5, bytes_field(1, entry)));
}

void TensorBoardFile::flush() {
  std::fflush(file_);
}

void TensorBoardFile::record(std::string_view event) {
  const std::uint64_t length = event.size();
  const std::string head = raw(&length, 8);
  const std::uint32_t head_crc = masked(crc32c(head)), body_crc = masked(crc32c(event));
  const std::string framed = head + raw(&head_crc, 4) + std::string(event) + raw(&body_crc, 4);
  LACUNA_CHECK(std::fwrite(framed.data(), 1, framed.size(), file_) == framed.size(), ErrorKind::Storage,
               "cannot write {}: {}", path_, std::strerror(errno));
}

}  // namespace lacuna
