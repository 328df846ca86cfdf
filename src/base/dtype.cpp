#include "src/base/dtype.h"

#include <cmath>
#include <cstring>

#include "src/base/error.h"

namespace lacuna {

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::F64: return "F64";
    case DType::F32: return "F32";
    case DType::BF16: return "BF16";
    case DType::F16: return "F16";
    case DType::I64: return "I64";
    case DType::I32: return "I32";
    case DType::U32: return "U32";
    case DType::U16: return "U16";
    case DType::U8: return "U8";
  }
  return "?";
}

DType parse_dtype(std::string_view name) {
  for (DType dtype : {DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U32,
                      DType::U16, DType::U8})
    if (name == name_of(dtype)) return dtype;
  if (name == "fp64") return DType::F64;
  if (name == "fp32") return DType::F32;
  if (name == "bf16") return DType::BF16;
  if (name == "fp16") return DType::F16;
  fail(ErrorKind::BadInput, "unknown data type '{}'", name);
}

std::uint16_t to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal: the magic addition rounds to nearest even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float tiny = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -tiny : tiny;
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

double load_as_double(const void* data, DType dtype, std::size_t index) {
  const auto* bytes = static_cast<const std::byte*>(data) + index * size_of(dtype);
  switch (dtype) {
    case DType::F64: {
      double value;
      std::memcpy(&value, bytes, sizeof value);
      return value;
    }
    case DType::F32: {
      float value;
      std::memcpy(&value, bytes, sizeof value);
      return value;
    }
    case DType::BF16:
    case DType::F16: {
      std::uint16_t value;
      std::memcpy(&value, bytes, sizeof value);
      return dtype == DType::BF16 ? from_bf16(value) : from_f16(value);
    }
    default: fail(ErrorKind::Internal, "load_as_double: {} is not a floating type", name_of(dtype));
  }
}

}  // namespace lacuna
