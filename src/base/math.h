// Checked integer arithmetic for sizes and shapes.
#pragma once

#include <cstdint>

#include "src/base/error.h"

namespace lacuna {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t multiple) { return ceil_div(a, multiple) * multiple; }

// a / b where b must divide a.
inline std::int64_t div_exact(std::int64_t a, std::int64_t b) {
  LACUNA_CHECK(b != 0 && a % b == 0, ErrorKind::Internal, "{} is not a multiple of {}", a, b);
  return a / b;
}

// a * b for non-negative numbers that may come from a file; `what` names the product in the error.
inline std::int64_t checked_mul(std::int64_t a, std::int64_t b, const char* what) {
  std::int64_t product = 0;
  LACUNA_CHECK(a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product), ErrorKind::BadInput,
               "{}: {} x {} overflows", what, a, b);
  return product;
}

inline std::int64_t checked_add(std::int64_t a, std::int64_t b, const char* what) {
  std::int64_t sum = 0;
  LACUNA_CHECK(!__builtin_add_overflow(a, b, &sum), ErrorKind::BadInput, "{}: {} + {} overflows", what, a, b);
  return sum;
}

}  // namespace lacuna
