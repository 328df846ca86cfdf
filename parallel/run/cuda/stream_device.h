// The queues of a rank as CUDA streams, its marks as events of a pool that every step uses again.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <vector>

#include "parallel/run/device.h"

namespace lacuna {

class StreamDevice final : public Device {
 public:
  explicit StreamDevice(cudaStream_t compute);
  ~StreamDevice() override;
  StreamDevice(const StreamDevice&) = delete;
  StreamDevice& operator=(const StreamDevice&) = delete;

  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data) noexcept override;
  Queue open_queue() override;
  Mark mark(Queue queue) override;
  void wait(Queue queue, Mark mark) override;
  void recycle_marks() override { next_mark_ = 0; }
  void copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) override;
  void finish(Queue queue) override;
  DeviceCounters counters() const override { return counters_; }

  cudaStream_t stream(Queue queue) const { return streams_.at(static_cast<std::size_t>(queue)); }
  int gpu() const { return gpu_; }
  // An event without times, for whoever orders queues of several ranks. Lives as long as the device.
  cudaEvent_t new_event();
  // `look` is called while the host waits: it goes on with transfers, and throws when a peer is lost.
  int watch(std::function<void()> look);
  void unwatch(int watch) { looks_.at(static_cast<std::size_t>(watch)) = nullptr; }
  void look() {
    for (const auto& one : looks_) {
      if (one) one();
    }
  }

 private:
  int gpu_ = 0;
  bool owns_compute_ = false;
  std::vector<cudaStream_t> streams_;  // by queue
  std::vector<cudaEvent_t> marks_, other_events_;
  std::size_t next_mark_ = 0;
  cudaEvent_t finished_ = nullptr;
  std::vector<std::function<void()>> looks_;
  DeviceCounters counters_;
  std::map<const std::byte*, std::size_t> sizes_;  // of what is held
};

// The device that make_cuda_device made, behind its interface.
StreamDevice& stream_device(Device& device);

}  // namespace lacuna
