#include "src/arch/scratch.h"

#include <algorithm>

#include "src/base/math.h"

namespace lacuna {

namespace {

constexpr std::size_t kProductWorkspace = 32u << 20;  // src/model/cuda/gemm.cpp

struct Widths {
  Widths(const ModelConfig& c, const MicroShape& s)
      : tokens(s.tokens()),
        mine(s.local_tokens()),
        hidden(c.hidden),
        query(c.query_width() / s.tp),
        kv((c.kv_heads >= s.tp ? c.kv_heads / s.tp : 1) * c.head_dim),
        ffn(c.ffn / s.tp),
        heads(c.heads / s.tp),
        group(query / kv) {}
  std::int64_t tokens, mine, hidden, query, kv, ffn, heads, group;
};

// Elements of the compute type in src/model/model_context.h, and the stage's boundary buffer.
std::int64_t workspace_elements(const Widths& w) {
  return 2 * w.tokens * w.hidden + 3 * w.mine * w.hidden + w.tokens * (w.ffn + w.query);
}

// Of src/model/attention.h on the CPU: one key/value head of one sequence, tiles of 64 queries.
std::int64_t cpu_attention_elements(const Widths& w, const ModelConfig& c, const MicroShape& s) {
  const std::int64_t rows = std::min<std::int64_t>(64, s.seq_len) * w.group;
  return s.seq_len * w.group * c.head_dim + rows * c.head_dim + 4 * s.seq_len * c.head_dim +
         2 * rows * std::max(s.seq_len, c.head_dim) + rows;
}

}  // namespace

std::size_t scratch_bytes(const ModelConfig& c, const MicroShape& s, StashKind kind, bool has_head,
                          bool cuda) {
  const Widths w(c, s);
  const std::size_t element = size_of(s.compute), statistic = size_of(s.statistic());
  const auto bytes = [](std::int64_t count, std::size_t size) {
    return static_cast<std::size_t>(count) * size;
  };
  std::size_t sum = bytes(workspace_elements(w), element);
  sum += bytes(3 * s.seq_len * c.head_dim / 2, statistic);  // rotary table
  if (kind == StashKind::Recompute) sum += block_stash(c, s, StashKind::Full).bytes;
  if (has_head) sum += bytes(head_rows(s) * ceil_div(c.vocab, s.tp), element);
  if (!cuda)
    return sum + bytes(w.tokens * w.ffn, statistic) + bytes(cpu_attention_elements(w, c, s), statistic);
  sum += bytes(w.tokens * (w.query + 2 * w.kv), element) + bytes(w.tokens * (w.query + w.heads), statistic);
  return sum + kProductWorkspace;
}

std::size_t taught_bytes(const ModelConfig& teacher, const MicroShape& shape, int micros) {
  const std::int64_t states = (micros * shape.local_tokens() + shape.tokens()) * teacher.hidden;
  const std::int64_t logits = head_rows(shape) * ceil_div(teacher.vocab, shape.tp);
  return static_cast<std::size_t>(states + logits) * size_of(shape.compute);
}

}  // namespace lacuna
