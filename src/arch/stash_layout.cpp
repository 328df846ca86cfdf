#include "src/arch/stash_layout.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/base/math.h"

namespace lacuna {

namespace {

class Builder {
 public:
  void add(std::string_view name, std::int64_t rows, std::int64_t cols, DType dtype) {
    layout_.slots.push_back({name, rows, cols, dtype, layout_.bytes});
    layout_.bytes +=
        static_cast<std::size_t>(round_up(static_cast<std::int64_t>(layout_.slots.back().bytes()), 64));
  }
  StashLayout take() { return std::move(layout_); }

 private:
  StashLayout layout_;
};

}  // namespace

const StashSlot& StashLayout::at(std::string_view name) const {
  for (const StashSlot& slot : slots)
    if (slot.name == name) return slot;
  fail(ErrorKind::Internal, "the stash has no slot '{}'", name);
}

StashLayout block_stash(const ModelConfig& c, const MicroShape& shape, StashKind kind) {
  Builder out;
  const std::int64_t all = shape.tokens(), mine = shape.local_tokens();
  out.add("input", mine, c.hidden, shape.compute);
  if (kind == StashKind::Recompute) return out.take();
  const std::int64_t query = c.query_width() / shape.tp;
  const std::int64_t local_kv_heads = c.kv_heads >= shape.tp ? c.kv_heads / shape.tp : 1;
  const std::int64_t kv = local_kv_heads * c.head_dim, ffn = c.ffn / shape.tp;
  const std::int64_t heads = c.heads / shape.tp;
  out.add("norm1", mine, c.hidden, shape.compute);
  out.add("query", all, query, shape.compute);
  out.add("key", all, kv, shape.compute);
  out.add("value", all, kv, shape.compute);
  out.add("context", all, query, shape.compute);
  out.add("middle", mine, c.hidden, shape.compute);
  out.add("norm2", mine, c.hidden, shape.compute);
  out.add("gate", all, ffn, shape.compute);
  out.add("up", all, ffn, shape.compute);
  out.add("product", all, ffn, shape.compute);
  out.add("lse", all, heads, shape.statistic());
  out.add("rstd1", mine, 1, shape.statistic());
  out.add("rstd2", mine, 1, shape.statistic());
  if (c.qk_norm) {
    out.add("query_raw", all, query, shape.compute);
    out.add("key_raw", all, kv, shape.compute);
    out.add("query_rstd", all, heads, shape.statistic());
    out.add("key_rstd", all, local_kv_heads, shape.statistic());
  }
  if (c.is_routed()) {
    out.add("experts", all, c.routed.experts, shape.statistic());
    if (c.routed.has_scores()) out.add("score", mine, c.routed.experts, shape.statistic());
    if (c.routed.has_rows()) {
      out.add("router_gate", mine, c.routed.experts * c.routed.rank, shape.statistic());
      out.add("router_up", mine, c.routed.experts * c.routed.rank, shape.statistic());
    }
  }
  return out.take();
}

StashLayout head_stash(const ModelConfig& c, const MicroShape& shape) {
  Builder out;
  out.add("input", shape.local_tokens(), c.hidden, shape.compute);
  out.add("norm", shape.local_tokens(), c.hidden, shape.compute);
  out.add("rstd", shape.local_tokens(), 1, shape.statistic());
  return out.take();
}

std::int64_t head_rows(const MicroShape& shape) {
  constexpr std::int64_t kLeast = 256, kMultiple = 64;
  const std::int64_t eighth = round_up(ceil_div(shape.tokens(), 8), kMultiple);
  return std::min(shape.tokens(), std::max(kLeast, eighth));
}

std::size_t boundary_bytes(const ModelConfig& c, const MicroShape& shape) {
  return static_cast<std::size_t>(shape.local_tokens() * c.hidden) * size_of(shape.compute);
}

}  // namespace lacuna
