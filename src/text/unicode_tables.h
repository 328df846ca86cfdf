// The generated tables (make_unicode_tables.py): runs of equal values over all code points, sorted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lacuna {

extern const std::uint32_t category_runs[];  // first code point << 5 | Category
extern const std::size_t category_runs_count;
extern const std::uint32_t combining_runs[];  // first code point << 8 | canonical combining class
extern const std::size_t combining_runs_count;
extern const std::uint64_t canonical_pairs[];  // composes << 63 | code << 42 | first << 21 | second or 0
extern const std::size_t canonical_pairs_count;

}  // namespace lacuna
