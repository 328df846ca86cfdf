#include "src/h5/write_driver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#if H5_VERSION_GE(1, 13, 2)
#include <H5FDdevelop.h>
#endif

namespace lacuna::h5 {

namespace {

// What the access list carries; the library copies it as bytes.
struct Info {
  WriteLog* log;
};

struct DriverFile {
  H5FD_t head;  // the library's part, first
  int fd;
  dev_t device;
  ino_t inode;
  haddr_t eoa, eof;  // end of what is allocated, and of what was written
  WriteLog* log;
};

DriverFile& as_file(H5FD_t* file) {
  return *reinterpret_cast<DriverFile*>(file);
}
const DriverFile& as_file(const H5FD_t* file) {
  return *reinterpret_cast<const DriverFile*>(file);
}

// The library first tries to open an existing file, then asks for a new one; we only make new ones.
H5FD_t* open_file(const char* name, unsigned flags, hid_t access_list, haddr_t) {
  if ((flags & H5F_ACC_CREAT) == 0) return nullptr;
  const auto* info = static_cast<const Info*>(H5Pget_driver_info(access_list));
  if (info == nullptr) return nullptr;
  struct stat status = {};
  const int fd = ::open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0 || ::fstat(fd, &status) != 0) {
    info->log->error = errno;
    if (fd >= 0) ::close(fd);
    return nullptr;
  }
  auto* file = new (std::nothrow) DriverFile{{}, fd, status.st_dev, status.st_ino, 0, 0, info->log};
  if (file == nullptr) ::close(fd);
  return file ? &file->head : nullptr;
}

herr_t close_file(H5FD_t* head) {
  DriverFile* file = &as_file(head);
  if (::close(file->fd) != 0 && file->log->error == 0) file->log->error = errno;
  delete file;
  return 0;
}

int compare_files(const H5FD_t* a, const H5FD_t* b) {
  const DriverFile &x = as_file(a), &y = as_file(b);
  if (x.device != y.device) return x.device < y.device ? -1 : 1;
  return x.inode == y.inode ? 0 : x.inode < y.inode ? -1 : 1;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  if (flags)
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t get_eoa(const H5FD_t* file, H5FD_mem_t) {
  return as_file(file).eoa;
}
herr_t set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t eoa) {
  as_file(file).eoa = eoa;
  return 0;
}
haddr_t get_eof(const H5FD_t* file, H5FD_mem_t) {
  return as_file(file).eof;
}

// The file's bytes, zeros beyond its end, and over them what was dropped.
herr_t read_bytes(H5FD_t* head, H5FD_mem_t, hid_t, haddr_t at, size_t size, void* buffer) {
  DriverFile& file = as_file(head);
  auto* out = static_cast<std::byte*>(buffer);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(file.fd, out + done, size - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  std::memset(out + done, 0, size - done);
  for (const auto& [from, bytes] : file.log->dropped) {
    const haddr_t begin = std::max(from, at), end = std::min<haddr_t>(from + bytes.size(), at + size);
    if (begin < end) std::memcpy(out + (begin - at), bytes.data() + (begin - from), end - begin);
  }
  return 0;
}

herr_t write_bytes(H5FD_t* head, H5FD_mem_t kind, hid_t, haddr_t at, size_t size, const void* buffer) {
  DriverFile& file = as_file(head);
  const auto* in = static_cast<const std::byte*>(buffer);
  file.eof = std::max<haddr_t>(file.eof, at + size);
  std::size_t done = 0;
  while (file.log->error == 0 && done < size) {
    const ssize_t put = ::pwrite(file.fd, in + done, size - done, static_cast<off_t>(at + done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) file.log->error = put < 0 ? errno : ENOSPC;
    if (put > 0) done += static_cast<std::size_t>(put);
  }
  if (done == size || kind == H5FD_MEM_DRAW) return 0;
  try {
    file.log->dropped.emplace_back(at, std::vector<std::byte>(in, in + size));
  } catch (const std::bad_alloc&) {
    return -1;
  }
  return 0;
}

herr_t truncate_file(H5FD_t* head, hid_t, hbool_t) {
  DriverFile& file = as_file(head);
  if (file.eoa == file.eof) return 0;
  if (file.log->error == 0 && ::ftruncate(file.fd, static_cast<off_t>(file.eoa)) != 0)
    file.log->error = errno;
  file.eof = file.eoa;
  return 0;
}

H5FD_class_t driver_class() {
  H5FD_class_t c{};
#if H5_VERSION_GE(1, 13, 2)
  c.version = H5FD_CLASS_VERSION;
  c.value = static_cast<H5FD_class_value_t>(600);  // of the range for drivers that are not registered
#endif
  c.name = "lacuna_write";
  c.maxaddr = static_cast<haddr_t>(std::numeric_limits<off_t>::max());
  c.fc_degree = H5F_CLOSE_WEAK;
  c.fapl_size = sizeof(Info);
  c.open = open_file;
  c.close = close_file;
  c.cmp = compare_files;
  c.query = query;
  c.get_eoa = get_eoa;
  c.set_eoa = set_eoa;
  c.get_eof = get_eof;
  c.read = read_bytes;
  c.write = write_bytes;
  c.truncate = truncate_file;
  const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(map), std::end(map), c.fl_map);
  return c;
}

}  // namespace

void WriteLog::check(const Place& place) const {
  LACUNA_CHECK(error == 0, ErrorKind::Storage, "{}: cannot write: {}", place.text(), std::strerror(error));
}

void use_write_driver(hid_t access_list, const Place& place, WriteLog& log) {
  const H5FD_class_t description = driver_class();  // the library keeps a copy
  const Handle driver(LACUNA_H5(place, H5FDregister, &description), H5FDunregister);
  const Info info{&log};
  LACUNA_H5(place, H5Pset_driver, access_list, driver.get(), &info);
}

}  // namespace lacuna::h5
