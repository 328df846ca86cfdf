// The element types of activations, the type their sums are kept in, and sums in a fixed order that the
// compiler can vectorise: the bits depend on the length alone, not on addresses or on the processor.
#pragma once

#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "src/base/error.h"

namespace lacuna {

template <class T>
struct AccumulateOf {
  using type = float;
};
template <>
struct AccumulateOf<double> {
  using type = double;
};
// F64 for double, F32 for float and bf16.
template <class T>
using Accumulate = typename AccumulateOf<T>::type;

inline at::ScalarType accumulate_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

// Calls body(T{}) with the C++ type of `type`: double, float or c10::BFloat16.
template <class Body>
decltype(auto) with_element_type(at::ScalarType type, Body&& body) {
  switch (type) {
    case at::kDouble:
      return std::forward<Body>(body)(double{});
    case at::kFloat:
      return std::forward<Body>(body)(float{});
    case at::kBFloat16:
      return std::forward<Body>(body)(c10::BFloat16{});
    default:
      fail(ErrorKind::Internal, "activations of type {} are not supported", c10::toString(type));
  }
}

inline constexpr int kLanes = 16;

// term(0) + ... + term(n-1): lane i mod 16 first, then the lanes as a tree.
template <class A, class Term>
A lane_sum(std::int64_t n, Term&& term) {
  A lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  for (int lane = 0; i < n; ++i, ++lane) lanes[lane] += term(i);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  return lanes[0];
}

// The largest of x[0..n), minus infinity for none.
template <class T>
Accumulate<T> lane_max(const T* x, std::int64_t n) {
  using A = Accumulate<T>;
  A lanes[kLanes];
  for (A& lane : lanes) lane = -std::numeric_limits<A>::infinity();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const A value = static_cast<A>(x[i + lane]);
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  for (; i < n; ++i) lanes[0] = static_cast<A>(x[i]) > lanes[0] ? static_cast<A>(x[i]) : lanes[0];
  for (int lane = 1; lane < kLanes; ++lane) lanes[0] = lanes[lane] > lanes[0] ? lanes[lane] : lanes[0];
  return lanes[0];
}

}  // namespace lacuna
