// Working memory of one thread for kernels that unpack weights. Grows, never shrinks.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace lacuna {

class Scratch {
 public:
  // At least `count` floats, aligned to 64 bytes; the contents are whatever the last user left.
  float* floats(std::size_t count) {
    if (bytes_.size() < count * sizeof(float) + 64) bytes_.resize(count * sizeof(float) + 64);
    void* at = bytes_.data();
    std::size_t room = bytes_.size();
    return static_cast<float*>(std::align(64, count * sizeof(float), at, room));
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace lacuna
