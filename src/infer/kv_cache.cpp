#include "src/infer/kv_cache.h"

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {

KvCache::KvCache(const ModelConfig& config, std::int64_t context)
    : layers_(config.layers), kv_heads_(config.kv_heads), head_dim_(config.head_dim), context_(context) {}

void KvCache::reserve(std::int64_t positions) {
  LACUNA_ASSERT(positions <= context_);
  if (positions <= room_) return;
  const std::int64_t room = std::min(context_, std::max({positions, 2 * room_, std::int64_t{256}}));
  const std::int64_t heads = layers_ * kv_heads_;
  for (std::vector<float>* data : {&keys_, &values_}) {
    std::vector<float> grown(static_cast<std::size_t>(heads * room * head_dim_));
    for (std::int64_t head = 0; head < heads; ++head)
      std::copy_n(data->data() + head * room_ * head_dim_, room_ * head_dim_,
                  grown.data() + head * room * head_dim_);
    *data = std::move(grown);
  }
  room_ = room;
}

void KvCache::store(std::int64_t layer, std::int64_t position, const float* keys, const float* values) {
  LACUNA_ASSERT(position < room_);
  for (std::int64_t head = 0; head < kv_heads_; ++head) {
    const std::int64_t to = at(layer, head) + position * head_dim_;
    std::copy_n(keys + head * head_dim_, head_dim_, keys_.data() + to);
    std::copy_n(values + head * head_dim_, head_dim_, values_.data() + to);
  }
}

}  // namespace lacuna
