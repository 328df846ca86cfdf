// Where a rank's buffers lie and how its engines run. Work is issued to queues; each queue runs in order, and
// a mark is a place in a queue that other queues can wait for. On the host everything has ended when the call
// returns, so its marks are empty; on a GPU a queue is a stream, a mark an event, and the caller runs ahead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "src/base/error.h"

namespace lacuna {

// A device has not as much memory as was wanted.
class DeviceMemoryError : public Error {
 public:
  explicit DeviceMemoryError(std::string text) : Error(ErrorKind::NoFit, std::move(text)) {}
};

// Queues are numbered. The first three exist on every device, communicators open more for their transfers.
using Queue = int;
inline constexpr Queue kComputeQueue = 0, kEvictQueue = 1, kLoadQueue = 2;
using Mark = std::int64_t;
inline constexpr Mark kNoMark = -1;

// What a device did since it was made that a steady step must not do.
struct DeviceCounters {
  std::int64_t synchronisations = 0;  // the host waited for the device
  std::int64_t allocations = 0;       // of memory, queues and marks
  std::int64_t bytes = 0;             // of memory held now
  bool operator==(const DeviceCounters&) const = default;
};

// Used by the thread of its rank alone. Outlives everything that was made with it.
class Device {
 public:
  virtual ~Device() = default;
  // Zero-filled and aligned to 64 bytes at least; DeviceMemoryError when there is not enough.
  virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void release(std::byte* data) noexcept = 0;

  virtual Queue open_queue() = 0;
  // The place after everything issued to `queue` so far.
  virtual Mark mark(Queue queue) = 0;
  // What is issued to `queue` from now on starts after `mark`, which may be of another queue.
  virtual void wait(Queue queue, Mark mark) = 0;
  // Marks made before are not waited for again: at the begin of a step.
  virtual void recycle_marks() = 0;
  virtual void copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) = 0;
  // The host waits until everything issued to `queue` has ended. Error(Hang) when a peer is lost meanwhile.
  virtual void finish(Queue queue) = 0;
  virtual DeviceCounters counters() const = 0;
};

// Host memory; every call has ended when it returns.
class HostDevice final : public Device {
 public:
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data) noexcept override;
  Queue open_queue() override { return kComputeQueue; }
  Mark mark(Queue) override { return 0; }
  void wait(Queue, Mark) override {}
  void recycle_marks() override {}
  void copy(Queue, std::byte* to, const std::byte* from, std::size_t bytes) override;
  void finish(Queue) override {}
  DeviceCounters counters() const override { return {0, allocations_, 0}; }

 private:
  std::int64_t allocations_ = 0;
};

// An owned block of a device's memory.
class DeviceBytes {
 public:
  DeviceBytes() = default;
  DeviceBytes(Device& device, std::size_t bytes)
      : device_(&device), data_(bytes ? device.allocate(bytes) : nullptr), bytes_(bytes) {}
  ~DeviceBytes() {
    if (data_) device_->release(data_);
  }
  DeviceBytes(DeviceBytes&& other) noexcept { *this = std::move(other); }
  DeviceBytes& operator=(DeviceBytes&& other) noexcept {
    std::swap(device_, other.device_), std::swap(data_, other.data_), std::swap(bytes_, other.bytes_);
    return *this;
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace lacuna
