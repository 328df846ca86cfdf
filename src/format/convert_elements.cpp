#include "src/format/convert_elements.h"

#include <cstring>

#include "src/base/error.h"

namespace lacuna {

namespace {

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

double widen(double value) {
  return value;
}
float widen(float value) {
  return value;
}
float widen(Bf16 value) {
  return from_bf16(value.bits);
}
float widen(F16 value) {
  return from_f16(value.bits);
}

void narrow(double value, double& out) {
  out = value;
}
void narrow(double value, float& out) {
  out = static_cast<float>(value);
}
void narrow(double value, Bf16& out) {
  out.bits = to_bf16(static_cast<float>(value));
}
void narrow(double value, F16& out) {
  out.bits = to_f16(static_cast<float>(value));
}

template <class From, class To>
void convert(const void* src, void* dst, std::int64_t count) {
  const auto* source = static_cast<const From*>(src);
  auto* target = static_cast<To*>(dst);
  for (std::int64_t i = 0; i < count; ++i) narrow(static_cast<double>(widen(source[i])), target[i]);
}

template <class From>
void convert_from(const void* src, void* dst, DType to, std::int64_t count) {
  switch (to) {
    case DType::F64:
      return convert<From, double>(src, dst, count);
    case DType::F32:
      return convert<From, float>(src, dst, count);
    case DType::BF16:
      return convert<From, Bf16>(src, dst, count);
    case DType::F16:
      return convert<From, F16>(src, dst, count);
    default:
      LACUNA_ASSERT(!"a floating type");
  }
}

}  // namespace

void convert_elements(const void* src, DType from, void* dst, DType to, std::int64_t count) {
  if (from == to) {
    std::memcpy(dst, src, static_cast<std::size_t>(count) * size_of(from));
    return;
  }
  switch (from) {
    case DType::F64:
      return convert_from<double>(src, dst, to, count);
    case DType::F32:
      return convert_from<float>(src, dst, to, count);
    case DType::BF16:
      return convert_from<Bf16>(src, dst, to, count);
    case DType::F16:
      return convert_from<F16>(src, dst, to, count);
    default:
      LACUNA_ASSERT(!"a floating type");
  }
}

}  // namespace lacuna
