#include "src/checkpoint/rectangle.h"

#include <algorithm>
#include <cstring>

#include "src/base/error.h"

namespace lacuna {

bool is_empty(const Slab& slab) {
  return std::any_of(slab.extent.begin(), slab.extent.end(), [](std::int64_t n) { return n == 0; });
}

bool lies_inside(const Slab& slab, const std::vector<std::int64_t>& shape) {
  if (slab.offset.size() != shape.size() || slab.extent.size() != shape.size()) return false;
  for (std::size_t d = 0; d < shape.size(); ++d)
    if (slab.offset[d] < 0 || slab.extent[d] < 1 || slab.extent[d] > shape[d] ||
        slab.offset[d] > shape[d] - slab.extent[d])
      return false;
  return true;
}

std::optional<Slab> intersect(const Slab& a, const Slab& b) {
  LACUNA_ASSERT(a.offset.size() == b.offset.size());
  Slab out = a;
  for (std::size_t d = 0; d < a.offset.size(); ++d) {
    const std::int64_t begin = std::max(a.offset[d], b.offset[d]);
    const std::int64_t end = std::min(a.offset[d] + a.extent[d], b.offset[d] + b.extent[d]);
    if (begin >= end) return std::nullopt;
    out.offset[d] = begin;
    out.extent[d] = end - begin;
  }
  return out;
}

std::string to_text(const Slab& slab) {
  std::string out;
  for (std::size_t d = 0; d < slab.offset.size(); ++d)
    out += fmt::format("{}{}:{}", d ? ", " : "", slab.offset[d], slab.offset[d] + slab.extent[d]);
  return "[" + out + "]";
}

namespace {

// `what` relative to the corner of `outer`.
Slab relative(const Slab& what, const Slab& outer) {
  Slab out = what;
  for (std::size_t d = 0; d < what.offset.size(); ++d) out.offset[d] -= outer.offset[d];
  return out;
}

}  // namespace

void copy_rectangle(const Slab& what, const Slab& from, const std::byte* source, const Slab& to,
                    std::byte* target, std::size_t element_bytes) {
  // Runs of the target, then the source's runs inside each: both walk `what` in the same order.
  struct Piece {
    std::int64_t at, count;
  };
  std::vector<Piece> pieces;
  for_each_run(from.extent, relative(what, from), [&](std::int64_t first, std::int64_t count, std::int64_t) {
    pieces.push_back({first, count});
  });
  std::size_t piece = 0;
  std::int64_t used = 0;
  for_each_run(to.extent, relative(what, to), [&](std::int64_t first, std::int64_t count, std::int64_t) {
    while (count > 0) {
      const std::int64_t n = std::min(count, pieces[piece].count - used);
      std::memcpy(target + static_cast<std::size_t>(first) * element_bytes,
                  source + static_cast<std::size_t>(pieces[piece].at + used) * element_bytes,
                  static_cast<std::size_t>(n) * element_bytes);
      first += n;
      count -= n;
      used += n;
      if (used == pieces[piece].count) {
        ++piece;
        used = 0;
      }
    }
  });
}

}  // namespace lacuna
