// Exact causal attention with grouped key/value heads, forward and backward, without a library: for fp64 and
// fp32 runs and for tests. Small tiles on the ordinary units; the fast path of bf16 is elsewhere. The
// backward pass rebuilds the probabilities from the log-sum-exp (arXiv 2205.14135, algorithm 4). No atomics.
//
// Pointers are device memory of the caller, contiguous. dtype: F64, F32 or BF16; sums in A (double for F64,
// else float).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "src/base/dtype.h"

namespace lacuna::cuda {

struct AttentionSize {
  DType dtype = DType::F32;
  std::int64_t sequences = 1, seq_len = 1;
  std::int64_t kv_heads = 1;
  std::int64_t group = 1;     // query heads of each key/value head
  std::int64_t head_dim = 2;  // at most 256
  std::int64_t window = 0;    // a query sees itself and window-1 tokens before it; 0: all
};

// query, context [tokens, kv_heads·group·head_dim], key, value [tokens, kv_heads·head_dim]; lse
// [tokens, kv_heads·group] of A. Writes context and lse. The scale is 1/sqrt(head_dim).
void attention_small(const AttentionSize& size, const void* query, const void* key, const void* value,
                     void* context, void* lse, Stream stream);

std::size_t attention_small_backward_workspace(const AttentionSize& size);
// Replaces query, key and value by their gradients.
void attention_small_backward(const AttentionSize& size, void* query, void* key, void* value,
                              const void* context, const void* lse, const void* context_grad, void* workspace,
                              Stream stream);

}  // namespace lacuna::cuda
