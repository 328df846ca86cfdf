#include "parallel/run/rank_sum.h"

#include <algorithm>
#include <cstdint>

#include "src/base/error.h"

namespace lacuna {
namespace {

// Elements of one block: the accumulators stay in the first-level cache, and a block is read before it is
// written, so `out` may alias a part.
constexpr std::size_t kBlock = 512;

// How an element type is stored, and in what it is added.
template <class T>
struct Plain {
  using Stored = T;
  using Sum = T;
  static Sum load(Stored value) { return value; }
  static Stored store(Sum value) { return value; }
};
struct Bf16 {
  using Stored = std::uint16_t;
  using Sum = float;
  static Sum load(Stored value) { return from_bf16(value); }
  static Stored store(Sum value) { return to_bf16(value); }
};

template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return b > a || b != b ? b : a;  // a NaN on either side stays: b > NaN is false
  } else {
    return std::max(a, b);
  }
}

template <class T>
T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  } else {
    return a + b;
  }
}

template <class Element>
void reduce(Reduction reduction, std::span<const void* const> parts, std::size_t count, void* out) {
  using Stored = typename Element::Stored;
  typename Element::Sum block[kBlock];
  auto* target = static_cast<Stored*>(out);
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    const auto* first = static_cast<const Stored*>(parts[0]) + begin;
    for (std::size_t i = 0; i < n; ++i) block[i] = Element::load(first[i]);
    for (std::size_t r = 1; r < parts.size(); ++r) {
      const auto* part = static_cast<const Stored*>(parts[r]) + begin;
      if (reduction == Reduction::Sum) {
        for (std::size_t i = 0; i < n; ++i) block[i] = add(block[i], Element::load(part[i]));
      } else {
        for (std::size_t i = 0; i < n; ++i) block[i] = larger(block[i], Element::load(part[i]));
      }
    }
    for (std::size_t i = 0; i < n; ++i) target[begin + i] = Element::store(block[i]);
  }
}

}  // namespace

void reduce_in_order(Reduction reduction, std::span<const void* const> parts, std::size_t count, DType dtype,
                     void* out) {
  LACUNA_ASSERT(!parts.empty());
  switch (dtype) {
    case DType::F64:
      return reduce<Plain<double>>(reduction, parts, count, out);
    case DType::F32:
      return reduce<Plain<float>>(reduction, parts, count, out);
    case DType::BF16:
      return reduce<Bf16>(reduction, parts, count, out);
    case DType::I64:
      return reduce<Plain<std::int64_t>>(reduction, parts, count, out);
    default:
      fail(ErrorKind::Internal, "cannot reduce {} over ranks: F64, F32, BF16 or I64", name_of(dtype));
  }
}

}  // namespace lacuna
