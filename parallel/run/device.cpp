#include "parallel/run/device.h"

#include <cstring>
#include <new>

#include "parallel/run/aligned_bytes.h"

namespace lacuna {

std::byte* HostDevice::allocate(std::size_t bytes) {
  ++allocations_;
  auto* data = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{AlignedBytes::kAlignment}));
  std::memset(data, 0, bytes);
  return data;
}

void HostDevice::release(std::byte* data) noexcept {
  ::operator delete (data, std::align_val_t{AlignedBytes::kAlignment});
}

void HostDevice::copy(Queue, std::byte* to, const std::byte* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
}

}  // namespace lacuna
