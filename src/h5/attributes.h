// Private to src/h5: scalar attributes of an object, fixed-length texts and int64.
#pragma once

#include <cstdint>
#include <string>

#include "src/h5/handle.h"

namespace lacuna::h5 {

void put_attribute(hid_t object, const Place& place, const std::string& name, const std::string& value);
void put_attribute(hid_t object, const Place& place, const std::string& name, std::int64_t value);
bool has_attribute(hid_t object, const Place& place, const std::string& name);
std::string get_text(hid_t object, const Place& place, const std::string& name);
std::int64_t get_int(hid_t object, const Place& place, const std::string& name);

}  // namespace lacuna::h5
