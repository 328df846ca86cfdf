// Private to src/h5: what File and Dataset share.
#pragma once

#include <vector>

#include "src/h5/dataset.h"
#include "src/h5/handle.h"
#include "src/h5/write_driver.h"

namespace lacuna::h5 {

// A rectangle of a dataset in its file, and a dense buffer of the same shape in memory.
struct Selection {
  Handle memory, file;
};

struct Dataset::State {
  Handle id;
  Place place;
  DatasetInfo info;
  const WriteLog* log = nullptr;  // of the file, when it is written
  Selection select(const std::vector<std::int64_t>& offset, const std::vector<std::int64_t>& extent) const;
};

// Opens `name` below `file` and checks every rule on datasets before any of its bytes are looked at.
Handle open_checked_dataset(hid_t file, const Place& place, const std::string& name, DatasetInfo& info);

// Creates it; the shape is checked first.
Handle make_dataset(hid_t file, const Place& place, const std::string& name, const DatasetInfo& info);

}  // namespace lacuna::h5
