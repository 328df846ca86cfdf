// Devices, streams, the allocator and copies.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "src/base/error.h"
#include "src/model/cuda/ops.h"

namespace lacuna::on_cuda {

namespace {

std::atomic<std::int64_t> waits{0};

using Entry = c10::CachingDeviceAllocator::TraceEntry;

// The allocator tells one listener for the process; it sorts what it hears by stream.
class AllocationLog {
 public:
  static AllocationLog& instance() {
    static AllocationLog log;
    return log;
  }
  void begin(cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    events_[stream].clear();
  }
  std::vector<AllocationEvent> end(cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    std::vector<AllocationEvent> out = std::move(events_[stream]);
    events_.erase(stream);
    return out;
  }

 private:
  AllocationLog() {
    c10::cuda::CUDACachingAllocator::attachAllocatorTraceTracker([this](const Entry& entry) { note(entry); });
  }
  void note(const Entry& entry) {
    AllocatorCall call = AllocatorCall::Allocate;
    if (entry.action_ == Entry::FREE_REQUESTED)
      call = AllocatorCall::Free;
    else if (entry.action_ == Entry::SEGMENT_ALLOC)
      call = AllocatorCall::FromDriver;
    else if (entry.action_ != Entry::ALLOC)
      return;
    const std::lock_guard lock(mutex_);
    const auto found = events_.find(static_cast<cudaStream_t>(entry.stream_));
    if (found != events_.end()) found->second.push_back({call, static_cast<std::int64_t>(entry.size_)});
  }

  std::mutex mutex_;
  std::map<cudaStream_t, std::vector<AllocationEvent>> events_;  // of the streams that are recorded
};

}  // namespace

bool built() {
  return true;
}

int device_count() {
  return c10::cuda::device_count();
}

void* use_device(int index) {
  const auto device = static_cast<c10::DeviceIndex>(index);
  c10::cuda::set_device(device);
  const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(false, device);
  c10::cuda::setCurrentCUDAStream(stream);
  return stream.stream();
}

void synchronise() {
  ++waits;
  c10::cuda::getCurrentCUDAStream().synchronize();
}

std::int64_t synchronisations() {
  return waits;
}

AllocatorBytes allocator_bytes(int device) {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
  return {stats.reserved_bytes[0].current, stats.allocated_bytes[0].current, stats.allocated_bytes[0].peak,
          stats.num_device_alloc};
}

void record_allocations() {
  AllocationLog::instance().begin(c10::cuda::getCurrentCUDAStream().stream());
}

std::vector<AllocationEvent> take_allocations() {
  return AllocationLog::instance().end(c10::cuda::getCurrentCUDAStream().stream());
}

void set_deterministic(bool on) {
  at::globalContext().setDeterministicAlgorithms(on, false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

void upload(std::span<const std::int32_t> values, const at::Tensor& to) {
  LACUNA_ASSERT(to.numel() >= static_cast<std::int64_t>(values.size()));
  if (values.empty()) return;
  const auto count = static_cast<std::int64_t>(values.size());
  const at::Tensor pinned = at::empty({count}, at::TensorOptions().dtype(at::kInt).pinned_memory(true));
  std::memcpy(pinned.data_ptr(), values.data(), values.size_bytes());
  to.view({-1}).narrow(0, 0, count).copy_(pinned, true);
}

}  // namespace lacuna::on_cuda
