// Private to src/h5: DType <-> the types in files. Little-endian always, equal in file and memory.
#pragma once

#include <optional>

#include "src/base/dtype.h"
#include "src/h5/handle.h"

namespace lacuna::h5 {

hid_t file_type(DType dtype);  // owned by the library

// The DType of a file's type and of the "dtype" attribute's text (empty: no attribute); nothing when they do
// not fit each other or are not ours.
std::optional<DType> dtype_of(hid_t type, const std::string& attribute);

}  // namespace lacuna::h5
