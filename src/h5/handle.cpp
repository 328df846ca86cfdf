#include "src/h5/handle.h"

namespace lacuna::h5 {

namespace {

// Guards the library itself, which is one per process.
std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

herr_t keep_innermost(unsigned n, const H5E_error2_t* error, void* out) {
  if (n == 0 && error->desc) *static_cast<std::string*>(out) = error->desc;
  return 0;
}

// "file write failed: time = ..., errno = 28, error message = 'No space left on device', buf = ..." is for
// programmers; people need the system's words.
std::string shorten(const std::string& text) {
  const std::string mark = "error message = '";
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return text;
  const std::size_t begin = at + mark.size();
  const std::size_t colon = text.find(':');
  return text.substr(0, std::min(colon, at)) + ": " + text.substr(begin, text.find('\'', begin) - begin);
}

}  // namespace

LibraryLock::LibraryLock() : lock_(library_mutex()) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

void fail_call(const Place& place, const char* call) {
  const LibraryLock lock;
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  fail(place.kind, "{}: {} failed{}{}", place.text(), call, reason.empty() ? "" : ": ", shorten(reason));
}

}  // namespace lacuna::h5
