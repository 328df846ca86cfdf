// Private to src/h5, the only folder that sees hdf5.h: owned identifiers, one lock around the library, one
// macro that checks every call.
#pragma once

#define H5_USE_110_API  // newer libraries then offer the 1.10 forms of H5Oget_info and H5Lget_info
#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

#include "src/base/error.h"

namespace lacuna::h5 {

// What a call was for: its error's kind and its place.
struct Place {
  ErrorKind kind = ErrorKind::BadInput;  // BadInput when reading, Storage when writing
  std::string file;
  std::string dataset;  // empty: the file as a whole
  std::string text() const { return dataset.empty() ? file : file + ": dataset '" + dataset + "'"; }
};

// Held around calls into the library: not every build of HDF5 is safe under threads, and local ranks are
// threads. Also silences the library's own printing, which is set per thread.
class LibraryLock {
 public:
  LibraryLock();

 private:
  std::scoped_lock<std::recursive_mutex> lock_;
};

// Throws with the innermost message of HDF5's error stack.
[[noreturn]] void fail_call(const Place& place, const char* call);

template <class Result>
Result checked(Result result, const Place& place, const char* call) {
  if (result < 0) fail_call(place, call);
  return result;
}
#define LACUNA_H5(place, function, ...) ::lacuna::h5::checked(function(__VA_ARGS__), place, #function)

// An identifier and the function that closes it.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), closer_(closer) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(closer_, other.closer_);
    return *this;
  }
  hid_t get() const { return id_; }
  hid_t release() { return std::exchange(id_, -1); }
  void reset() {
    if (id_ < 0) return;
    const LibraryLock lock;
    closer_(std::exchange(id_, -1));
  }

 private:
  hid_t id_ = -1;
  herr_t (*closer_)(hid_t) = nullptr;
};

}  // namespace lacuna::h5
