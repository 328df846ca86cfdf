// Rectangles of a row-major tensor: intersection, runs of consecutive elements, copies between buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/arch/parameters.h"

namespace lacuna {

// True if `slab` has the rank of `shape`, is not empty in any dimension and lies inside.
bool lies_inside(const Slab& slab, const std::vector<std::int64_t>& shape);
bool is_empty(const Slab& slab);  // some extent is 0
std::optional<Slab> intersect(const Slab& a, const Slab& b);
std::string to_text(const Slab& slab);  // "[0:4, 8:16]"

// Calls run(first, count, local) for each maximal run of elements of `slab` that are consecutive in the
// tensor and in a dense buffer of the slab: first index in the tensor, number, index in the buffer.
template <class Run>
void for_each_run(const std::vector<std::int64_t>& shape, const Slab& slab, Run&& run) {
  if (is_empty(slab)) return;
  // Dimensions from `tail` on are taken whole, so the run covers them and the part of the one before.
  std::size_t tail = shape.size();
  std::int64_t inner = 1;  // elements of one step of dimension tail - 1
  while (tail > 1 && slab.extent[tail - 1] == shape[tail - 1]) inner *= shape[--tail];
  const std::int64_t count = slab.extent[tail - 1] * inner;
  std::vector<std::int64_t> at(tail - 1, 0);  // odometer over the dimensions before
  for (std::int64_t local = 0;; local += count) {
    std::int64_t first = 0;
    for (std::size_t d = 0; d + 1 < tail; ++d) first = (first + slab.offset[d] + at[d]) * shape[d + 1];
    run((first + slab.offset[tail - 1]) * inner, count, local);
    std::size_t d = tail - 1;
    while (d > 0 && ++at[d - 1] == slab.extent[d - 1]) at[--d] = 0;
    if (d == 0) return;
  }
}

// Copies the rectangle `what` (global coordinates) from a dense buffer of `from` to a dense buffer of `to`.
void copy_rectangle(const Slab& what, const Slab& from, const std::byte* source, const Slab& to,
                    std::byte* target, std::size_t element_bytes);

}  // namespace lacuna
