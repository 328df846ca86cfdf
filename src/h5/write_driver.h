// Private to src/h5: the file driver under every file that we write. HDF5 leaves dangling identifiers behind
// when a write fails while it closes something, and then crashes at exit; so it never sees a failure. The
// driver notes the first one and drops everything from then on; we look at the note and throw.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "src/h5/handle.h"

namespace lacuna::h5 {

// Outlives the file.
struct WriteLog {
  int error = 0;  // errno of the first failure
  std::vector<std::pair<haddr_t, std::vector<std::byte>>>
      dropped;  // metadata that HDF5 may want to read again

  // Throws Error(Storage) with the system's reason when something has failed.
  void check(const Place& place) const;
};

// A file access list that uses the driver and tells `log`.
void use_write_driver(hid_t access_list, const Place& place, WriteLog& log);

}  // namespace lacuna::h5
