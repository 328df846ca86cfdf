// Causal softmax attention of one query head over its key/value head: context = softmax(q·kᵀ·scale)·v.
// Scores and context use the sums of linear and accumulate_rows, so a query's result does not depend on
// which other queries are in the call.
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"
#include "kernels/scratch.h"

namespace lacuna {

struct AttentionHead {
  ConstRows query;                  // [queries, head_dim], already rotated
  std::int64_t first_position = 0;  // of query 0; query t sees keys 0 .. first_position + t
  const float* keys = nullptr;      // [positions, head_dim] of this key/value head, contiguous
  const float* values = nullptr;    // the same
  std::int64_t window = 0;          // a query sees at most this many latest keys, its own included; 0: all
  float scale = 1;
  Rows context;  // [queries, head_dim], overwritten
};

// Error(Internal) on shapes that do not fit.
void attention_head(const AttentionHead& head, Scratch& scores, Scratch& unpacked, Isa isa = best_isa());

// context [queries, head_dim] for queries [queries, head_dim], keys and values [positions, head_dim].
void attention_head_ref(const double* query, std::int64_t queries, std::int64_t head_dim,
                        std::int64_t first_position, const double* keys, const double* values,
                        std::int64_t window, double scale, double* context);

}  // namespace lacuna
