// Private to src/h5: the walk over a whole file that refuses every kind of link and object we never write.
#pragma once

#include <string>
#include <vector>

#include "src/h5/handle.h"

namespace lacuna::h5 {

// Paths of all datasets without leading '/', sorted. Place.kind on soft, external or user-defined links, on
// an object that is reached twice (cycles), on anything but groups and datasets.
std::vector<std::string> walk_file(hid_t file, const Place& place);

}  // namespace lacuna::h5
