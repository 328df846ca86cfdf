#include "src/h5/element_type.h"

#include <bit>

namespace lacuna::h5 {

static_assert(std::endian::native == std::endian::little, "our files are little-endian and never converted");

hid_t file_type(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return H5T_IEEE_F64LE;
    case DType::F32:
      return H5T_IEEE_F32LE;
    case DType::I64:
      return H5T_STD_I64LE;
    case DType::I32:
      return H5T_STD_I32LE;
    case DType::U32:
      return H5T_STD_U32LE;
    case DType::BF16:
    case DType::F16:
    case DType::U16:
      return H5T_STD_U16LE;
    case DType::U8:
      return H5T_STD_U8LE;
  }
  fail(ErrorKind::Internal, "h5: no file type for a data type");
}

std::optional<DType> dtype_of(hid_t type, const std::string& attribute) {
  for (DType dtype : {DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U32,
                      DType::U16, DType::U8}) {
    const bool sixteen = dtype == DType::BF16 || dtype == DType::F16;
    if (H5Tequal(type, file_type(dtype)) <= 0) continue;
    if (attribute == name_of(dtype) || (attribute.empty() && !sixteen)) return dtype;
  }
  return std::nullopt;
}

}  // namespace lacuna::h5
