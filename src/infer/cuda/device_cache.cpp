#include "src/infer/cuda/device_cache.h"

#include <algorithm>

#include "src/base/error.h"
#include "src/infer/rope_settings.h"

namespace lacuna {

namespace {

DeviceMemory uploaded(const std::vector<float>& values) {
  DeviceMemory out(values.size() * sizeof(float), "the rotary tables");
  LACUNA_CUDA(cudaMemcpy(out.data(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
  return out;
}

}  // namespace

DeviceCache::DeviceCache(const DecodeLayout& layout, std::int64_t context)
    : config_(layout.config),
      dtype_(layout.dtype),
      context_(context),
      stride_(padded_stride(layout.config.head_dim, layout.dtype)) {}

bool DeviceCache::reserve(std::int64_t positions, const OwnedStream& stream) {
  LACUNA_ASSERT(positions <= context_);
  if (positions <= room_) return false;
  const std::int64_t room = std::min(context_, std::max({positions, 2 * room_, std::int64_t{1024}}));
  const auto rows = static_cast<std::size_t>(2 * config_.layers * config_.kv_heads);
  DeviceMemory memory(rows * static_cast<std::size_t>(room) * row_bytes(), "the cache of keys and values");
  stream.wait();
  if (room_ > 0)
    LACUNA_CUDA(cudaMemcpy2D(memory.data(), static_cast<std::size_t>(room) * row_bytes(), memory_.data(),
                             static_cast<std::size_t>(room_) * row_bytes(),
                             static_cast<std::size_t>(room_) * row_bytes(), rows, cudaMemcpyDeviceToDevice));
  const RopeTable table = rope_table(rope_settings(config_), config_.head_dim, room);
  cosine_ = uploaded(table.cosine);
  sine_ = uploaded(table.sine);
  memory_ = std::move(memory);
  room_ = room;
  LACUNA_CUDA(cudaDeviceSynchronize());
  return true;
}

cuda::DecodeCache DeviceCache::layer(std::int64_t layer) const {
  const auto bytes = static_cast<std::size_t>(config_.kv_heads * room_) * row_bytes();
  return {memory_.data() + static_cast<std::size_t>(layer) * bytes,
          memory_.data() + static_cast<std::size_t>(config_.layers + layer) * bytes, dtype_, room_, stride_};
}

}  // namespace lacuna
