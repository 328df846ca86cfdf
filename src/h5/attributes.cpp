#include "src/h5/attributes.h"

#include <algorithm>

namespace lacuna::h5 {

namespace {

constexpr std::size_t kMaxText = 60'000;  // HDF5 keeps an attribute inside a 64 KiB object header

void put(hid_t object, const Place& place, const std::string& name, hid_t type, const void* value) {
  if (has_attribute(object, place, name)) LACUNA_H5(place, H5Adelete, object, name.c_str());
  const Handle space(LACUNA_H5(place, H5Screate, H5S_SCALAR), H5Sclose);
  Handle attribute(
      LACUNA_H5(place, H5Acreate2, object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  LACUNA_H5(place, H5Awrite, attribute.get(), type, value);
  LACUNA_H5(place, H5Aclose, attribute.release());
}

Handle open_scalar(hid_t object, const Place& place, const std::string& name) {
  LACUNA_CHECK(has_attribute(object, place, name), place.kind, "{}: no attribute '{}'", place.text(), name);
  Handle attribute(LACUNA_H5(place, H5Aopen, object, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle space(LACUNA_H5(place, H5Aget_space, attribute.get()), H5Sclose);
  LACUNA_CHECK(H5Sget_simple_extent_type(space.get()) == H5S_SCALAR, place.kind,
               "{}: attribute '{}' is not a single value", place.text(), name);
  return attribute;
}

}  // namespace

void put_attribute(hid_t object, const Place& place, const std::string& name, const std::string& value) {
  LACUNA_CHECK(value.size() <= kMaxText, place.kind, "{}: attribute '{}' of {} bytes; at most {} fit",
               place.text(), name, value.size(), kMaxText);
  LACUNA_CHECK(value.find('\0') == std::string::npos, place.kind, "{}: attribute '{}' holds a NUL byte",
               place.text(), name);
  const Handle type(LACUNA_H5(place, H5Tcopy, H5T_C_S1), H5Tclose);
  LACUNA_H5(place, H5Tset_size, type.get(), std::max<std::size_t>(value.size(), 1));
  LACUNA_H5(place, H5Tset_strpad, type.get(), H5T_STR_NULLPAD);
  LACUNA_H5(place, H5Tset_cset, type.get(), H5T_CSET_UTF8);
  put(object, place, name, type.get(), value.c_str());
}

void put_attribute(hid_t object, const Place& place, const std::string& name, std::int64_t value) {
  put(object, place, name, H5T_STD_I64LE, &value);
}

bool has_attribute(hid_t object, const Place& place, const std::string& name) {
  return LACUNA_H5(place, H5Aexists, object, name.c_str()) > 0;
}

std::string get_text(hid_t object, const Place& place, const std::string& name) {
  const Handle attribute = open_scalar(object, place, name);
  const Handle type(LACUNA_H5(place, H5Aget_type, attribute.get()), H5Tclose);
  LACUNA_CHECK(H5Tget_class(type.get()) == H5T_STRING && H5Tis_variable_str(type.get()) == 0, place.kind,
               "{}: attribute '{}' is not a fixed-length text", place.text(), name);
  const std::size_t size = H5Tget_size(type.get());
  LACUNA_CHECK(size <= kMaxText, place.kind, "{}: attribute '{}' of {} bytes; at most {} are allowed",
               place.text(), name, size, kMaxText);
  std::string value(size, '\0');
  LACUNA_H5(place, H5Aread, attribute.get(), type.get(), value.data());
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

std::int64_t get_int(hid_t object, const Place& place, const std::string& name) {
  const Handle attribute = open_scalar(object, place, name);
  const Handle type(LACUNA_H5(place, H5Aget_type, attribute.get()), H5Tclose);
  LACUNA_CHECK(H5Tequal(type.get(), H5T_STD_I64LE) > 0, place.kind, "{}: attribute '{}' is not an int64",
               place.text(), name);
  std::int64_t value = 0;
  LACUNA_H5(place, H5Aread, attribute.get(), H5T_STD_I64LE, &value);
  return value;
}

}  // namespace lacuna::h5
