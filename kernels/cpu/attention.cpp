#include "kernels/attention.h"

#include <algorithm>

#include "kernels/accumulate.h"
#include "kernels/linear.h"
#include "kernels/softmax.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr std::int64_t kQueryBlock = 32;

MatrixView positions_view(const float* data, std::int64_t first, std::int64_t count, std::int64_t head_dim) {
  return {reinterpret_cast<const std::byte*>(data + first * head_dim), DType::F32, count, head_dim, head_dim};
}

// Queries [begin, end): scores over every key that one of them sees, softmax over what each sees alone.
void attend_block(const AttentionHead& head, std::int64_t begin, std::int64_t end, Scratch& scores,
                  Scratch& unpacked, Isa isa) {
  const std::int64_t head_dim = head.query.width, queries = end - begin;
  const auto first_key = [&](std::int64_t query) {
    const std::int64_t position = head.first_position + query;
    return head.window > 0 ? std::max<std::int64_t>(0, position + 1 - head.window) : 0;
  };
  const std::int64_t low = first_key(begin), high = head.first_position + end, keys = high - low;
  const ActiveRun all[] = {{0, static_cast<std::int32_t>(keys)}};
  const Rows weights{scores.floats(static_cast<std::size_t>(queries * keys)), queries, keys, keys};
  linear(positions_view(head.keys, low, keys, head_dim), all,
         {head.query.row(begin), queries, head_dim, head.query.stride}, weights, unpacked, isa);
  for (std::int64_t query = begin; query < end; ++query) {
    float* row = weights.row(query - begin);
    const std::int64_t from = first_key(query) - low, to = head.first_position + query + 1 - low;
    std::fill(row, row + from, 0.0f);
    softmax(row + from, to - from, head.scale, isa);
    std::fill(row + to, row + keys, 0.0f);
  }
  accumulate_rows(positions_view(head.values, low, keys, head_dim), all, weights,
                  {head.context.row(begin), queries, head_dim, head.context.stride}, 0, head_dim, unpacked,
                  isa);
}

}  // namespace

void attention_head(const AttentionHead& head, Scratch& scores, Scratch& unpacked, Isa isa) {
  LACUNA_ASSERT(head.query.count == head.context.count && head.query.width == head.context.width);
  LACUNA_ASSERT(head.first_position >= 0 && head.window >= 0);
  for (std::int64_t begin = 0; begin < head.query.count; begin += kQueryBlock)
    attend_block(head, begin, std::min(begin + kQueryBlock, head.query.count), scores, unpacked, isa);
}

}  // namespace lacuna
