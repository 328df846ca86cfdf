#include "src/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "src/base/error.h"

namespace lacuna {
namespace {

// An open file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // Closes now and says whether that went well: the last place where a write error can show.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string reason() {
  return std::strerror(errno);
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// Opens for reading and proves on the open descriptor that it is a regular file; O_NONBLOCK keeps a FIFO
// from hanging the open.
int open_regular(const std::string& path, bool follow, std::size_t& size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
  if (fd < 0 && errno == ELOOP && !follow)
    fail(ErrorKind::BadInput, "{}: is a symbolic link, wanted a regular file", printable(path));
  LACUNA_CHECK(fd >= 0, ErrorKind::BadInput, "cannot read {}: {}", printable(path), reason());
  struct stat status = {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    fail(ErrorKind::BadInput, "{}: is {}, wanted a regular file", printable(path), kind_of(status.st_mode));
  }
  size = static_cast<std::size_t>(status.st_size);
  return fd;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    LACUNA_CHECK(done > 0, ErrorKind::Storage, "cannot write {}: {}", printable(path), reason());
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace

std::string read_file(const std::string& path, std::size_t max_bytes, bool follow) {
  std::size_t size = 0;
  Descriptor file(open_regular(path, follow, size));
  LACUNA_CHECK(size <= max_bytes, ErrorKind::BadInput, "{}: {} bytes, at most {} are read", printable(path),
               size, max_bytes);
  std::string out;
  out.resize(size);
  std::size_t at = 0;
  for (;;) {  // reads to the end: files of /proc say size 0, and a file may grow meanwhile
    if (at == out.size()) {
      if (at > max_bytes) break;
      out.resize(at + (at == size ? 1 : 65536));
    }
    const ssize_t got = ::read(file.get(), out.data() + at, out.size() - at);
    if (got < 0 && errno == EINTR) continue;
    LACUNA_CHECK(got >= 0, ErrorKind::BadInput, "cannot read {}: {}", printable(path), reason());
    if (got == 0) break;
    at += static_cast<std::size_t>(got);
  }
  LACUNA_CHECK(at <= max_bytes, ErrorKind::BadInput, "{}: more than {} bytes", printable(path), max_bytes);
  out.resize(at);
  return out;
}

void write_file_atomic(const std::string& path, std::string_view bytes) {
  // The name carries the process id: writers of two processes must not share a temporary file.
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  LACUNA_CHECK(file.get() >= 0, ErrorKind::Storage, "cannot write {}: {}", printable(temporary), reason());
  try {
    write_all(file.get(), bytes, path);
    LACUNA_CHECK(::fsync(file.get()) == 0 && file.close(), ErrorKind::Storage, "cannot write {}: {}",
                 printable(path), reason());
    LACUNA_CHECK(::rename(temporary.c_str(), path.c_str()) == 0, ErrorKind::Storage, "cannot replace {}: {}",
                 printable(path), reason());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_folder(folder_of(path));
}

void fsync_folder(const std::string& path) {
  Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  LACUNA_CHECK(folder.get() >= 0, ErrorKind::Storage, "cannot open folder {}: {}", printable(path), reason());
  // Some file systems cannot sync a folder and say EINVAL; there the rename itself is what they offer.
  LACUNA_CHECK(::fsync(folder.get()) == 0 || errno == EINVAL, ErrorKind::Storage, "cannot sync folder {}: {}",
               printable(path), reason());
}

MappedFile::MappedFile(const std::string& path, bool follow) : path_(path) {
  Descriptor file(open_regular(path, follow, size_));
  if (size_ == 0) return;  // an empty mapping is no mapping
  void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  LACUNA_CHECK(memory != MAP_FAILED, ErrorKind::BadInput, "cannot map {} ({} bytes): {}", printable(path),
               size_, reason());
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::span<const std::byte> BoundedReader::take(std::size_t count) {
  LACUNA_CHECK(count <= remaining(), ErrorKind::BadInput, "{}: at byte {}: wanted {} bytes, {} remain",
               where_, at_, count, remaining());
  const auto out = bytes_.subspan(at_, count);
  at_ += count;
  return out;
}

namespace {
template <class T>
T read_value(BoundedReader& reader) {  // little-endian, as every machine that this builds on
  T value;
  std::memcpy(&value, reader.take(sizeof(T)).data(), sizeof(T));
  return value;
}
}  // namespace

std::uint8_t BoundedReader::u8() {
  return read_value<std::uint8_t>(*this);
}
std::uint32_t BoundedReader::u32() {
  return read_value<std::uint32_t>(*this);
}
std::int32_t BoundedReader::i32() {
  return read_value<std::int32_t>(*this);
}
std::uint64_t BoundedReader::u64() {
  return read_value<std::uint64_t>(*this);
}
float BoundedReader::f32() {
  return read_value<float>(*this);
}

namespace {

// Length of the well-formed UTF-8 sequence of two to four bytes at the front of `text`, or 0.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf ? 2
                             : (lead & 0xf0) == 0xe0      ? 3
                             : (lead & 0xf8) == 0xf0      ? 4
                                                          : 0;
  if (length == 0 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogates
  if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // beyond U+10FFFF
  return length;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const unsigned char first = static_cast<unsigned char>(text[0]);
    std::size_t keep = first >= 0x20 && first < 0x7f ? 1 : first >= 0x80 ? utf8_length(text) : 0;
    if (keep == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) keep = 0;  // C1 controls
    if (keep > 0) {
      out.append(text.substr(0, keep));
    } else {
      out += fmt::format("\\x{:02x}", first);
      keep = 1;
    }
    text.remove_prefix(keep);
  }
  return out;
}

}  // namespace lacuna
