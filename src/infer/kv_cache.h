// Keys and values of one sequence in fp32: for every layer and key/value head, [positions, head_dim]
// contiguous. Room doubles as positions come, up to the context.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/matrix.h"
#include "src/arch/model_config.h"

namespace lacuna {

class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t context);

  std::int64_t context() const { return context_; }
  std::int64_t room() const { return room_; }
  // Makes room for positions [0, positions), positions <= context; what is stored stays.
  void reserve(std::int64_t positions);
  // Stores one token's keys and values, each [kv_heads·head_dim], at `position` < room().
  void store(std::int64_t layer, std::int64_t position, const float* keys, const float* values);
  const float* keys(std::int64_t layer, std::int64_t kv_head) const {
    return keys_.data() + at(layer, kv_head);
  }
  const float* values(std::int64_t layer, std::int64_t kv_head) const {
    return values_.data() + at(layer, kv_head);
  }
  std::size_t bytes() const { return (keys_.size() + values_.size()) * sizeof(float); }

 private:
  std::int64_t at(std::int64_t layer, std::int64_t kv_head) const {
    return (layer * kv_heads_ + kv_head) * room_ * head_dim_;
  }
  std::int64_t layers_, kv_heads_, head_dim_, context_, room_ = 0;
  std::vector<float> keys_, values_;
};

}  // namespace lacuna
