// Rows of an embedding table for tokens, and the table's gradient as a segmented sum without atomics.
//
// Pointers are device memory of the caller, aligned to 16 bytes (index lists to 4). dtype: F64, F32 or BF16.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

// out [count, cols] = table[tokens[t] - first], zeros where that is outside [0, table_rows).
void embedding_rows(DType dtype, const void* table, std::int64_t first, std::int64_t table_rows,
                    const std::int32_t* tokens, std::int64_t count, std::int64_t cols, void* out,
                    Stream stream);

// Which positions hold which row of the local table. Host side; copy the three lists to the device for
// embedding_grad. Sizes: rows U, offsets U + 1, positions offsets.back(); U <= min(count, table_rows).
struct TokenIndex {
  std::vector<std::int32_t> rows;       // distinct rows of the local table, ascending
  std::vector<std::int32_t> offsets;    // positions of rows[u] are positions[offsets[u] .. offsets[u + 1])
  std::vector<std::int32_t> positions;  // ascending within a row
};
TokenIndex index_tokens(std::span<const std::int32_t> tokens, std::int64_t first, std::int64_t table_rows);

// grad [table_rows, cols] of A += for each row of the index, the sum of row_grads[positions]. A: double for
// F64, else float. The order of the sum depends on the number of positions alone.
void embedding_grad(DType dtype, const void* row_grads, const std::int32_t* rows, const std::int32_t* offsets,
                    const std::int32_t* positions, std::int64_t distinct, std::int64_t cols, void* grad,
                    Stream stream);

}  // namespace lacuna::cuda
