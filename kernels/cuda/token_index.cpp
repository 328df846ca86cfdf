#include <algorithm>
#include <numeric>

#include "kernels/cuda/embedding.h"

namespace lacuna::cuda {

// A counting sort by row, stable: positions stay ascending.
TokenIndex index_tokens(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t table_rows) {
  const auto row_of = [&](std::int32_t token) {
    const std::int64_t row = token - first;
    return row >= 0 && row < table_rows ? row : -1;
  };
  std::vector<std::int32_t> next(static_cast<std::size_t>(table_rows) + 1, 0);
  for (std::int32_t token : tokens)
    if (const std::int64_t row = row_of(token); row >= 0) ++next[static_cast<std::size_t>(row) + 1];
  TokenIndex index;
  index.offsets.push_back(0);
  for (std::size_t row = 0; row < static_cast<std::size_t>(table_rows); ++row) {
    if (next[row + 1] > 0) {
      index.rows.push_back(static_cast<std::int32_t>(row));
      index.offsets.push_back(index.offsets.back() + next[row + 1]);
    }
    next[row + 1] += next[row];
  }
  index.positions.resize(static_cast<std::size_t>(index.offsets.back()));
  for (std::size_t at = 0; at < tokens.size(); ++at)
    if (const std::int64_t row = row_of(tokens[at]); row >= 0)
      index.positions[static_cast<std::size_t>(next[static_cast<std::size_t>(row)]++)] =
          static_cast<std::int32_t>(at);
  return index;
}

}  // namespace lacuna::cuda
