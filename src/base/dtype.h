// Element types of tensors, their sizes and spellings, and the 16-bit float conversions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lacuna {

enum class DType : std::uint8_t { F64, F32, BF16, F16, I64, I32, U32, U16, U8 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::F64:
    case DType::I64: return 8;
    case DType::F32:
    case DType::I32:
    case DType::U32: return 4;
    case DType::BF16:
    case DType::F16:
    case DType::U16: return 2;
    case DType::U8: return 1;
  }
  return 0;
}

// The spelling of safetensors and of our own files: "F64", "BF16", ...
std::string_view name_of(DType dtype);
// Reads that spelling and the flags' one ("fp64", "fp32", "bf16", "fp16"); Error(BadInput) otherwise.
DType parse_dtype(std::string_view name);

// Round to nearest, ties to even; NaN stays NaN.
inline std::uint16_t to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t to_f16(float value);
float from_f16(std::uint16_t bits);

// Reads element `index` of an array of `dtype` as double (floating types only).
double load_as_double(const void* data, DType dtype, std::size_t index);

}  // namespace lacuna
