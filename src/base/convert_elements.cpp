#include "src/base/convert_elements.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "src/base/error.h"

namespace lacuna {

namespace {

// The float next to `value` towards zero whose last bit is set when it is not exact (round to odd): rounding
// that to 16 bits gives what rounding `value` itself would.
float to_odd_float(double value) {
  float near = static_cast<float>(value);
  if (std::isnan(value) || static_cast<double>(near) == value) return near;
  if (std::fabs(static_cast<double>(near)) > std::fabs(value)) near = std::nextafterf(near, 0.0f);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(near) | 1u);
}

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

double widen(double v) {
  return v;
}
float widen(float v) {
  return v;
}
float widen(Bf16 v) {
  return from_bf16(v.bits);
}
float widen(F16 v) {
  return from_f16(v.bits);
}

template <class To, class From>
To narrow(From value) {
  if constexpr (std::is_same_v<To, Bf16> || std::is_same_v<To, F16>) {
    float f = 0;
    if constexpr (std::is_same_v<From, double>)
      f = to_odd_float(value);
    else
      f = value;
    if constexpr (std::is_same_v<To, Bf16>)
      return {to_bf16(f)};
    else
      return {to_f16(f)};
  } else {
    return static_cast<To>(value);
  }
}

template <class From, class To>
void convert(const void* source, void* target, std::size_t count) {
  const auto* in = static_cast<const std::byte*>(source);
  auto* out = static_cast<std::byte*>(target);
  for (std::size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, in + i * sizeof(From), sizeof(From));
    const To result = narrow<To>(widen(value));
    std::memcpy(out + i * sizeof(To), &result, sizeof(To));
  }
}

template <class From>
void convert_from(const void* source, void* target, DType to, std::size_t count) {
  switch (to) {
    case DType::F64:
      return convert<From, double>(source, target, count);
    case DType::F32:
      return convert<From, float>(source, target, count);
    case DType::BF16:
      return convert<From, Bf16>(source, target, count);
    case DType::F16:
      return convert<From, F16>(source, target, count);
    default:
      return;
  }
}

}  // namespace

bool is_floating(DType dtype) {
  return dtype == DType::F64 || dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16;
}

void convert_elements(const void* source, DType from, void* target, DType to, std::size_t count) {
  if (from == to) {
    if (count > 0) std::memcpy(target, source, count * size_of(from));
    return;
  }
  LACUNA_CHECK(is_floating(from) && is_floating(to), ErrorKind::BadInput, "no conversion from {} to {}",
               name_of(from), name_of(to));
  switch (from) {
    case DType::F64:
      return convert_from<double>(source, target, to, count);
    case DType::F32:
      return convert_from<float>(source, target, to, count);
    case DType::BF16:
      return convert_from<Bf16>(source, target, to, count);
    case DType::F16:
      return convert_from<F16>(source, target, to, count);
    default:
      return;
  }
}

}  // namespace lacuna
