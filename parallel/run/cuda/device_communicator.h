// What every communicator of device memory has: the communicator of the same ranks for host memory, which
// carries control data and names the ranks, the device, and a look at the peers while the host waits.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "parallel/run/communicator.h"
#include "parallel/run/cuda/stream_device.h"
#include "parallel/run/rank_sum.h"

namespace lacuna {

class DeviceCommunicator : public Communicator {
 public:
  // All outlive it; progress: see report_to.
  DeviceCommunicator(Communicator& host, StreamDevice& device, Progress* progress)
      : host_(host), device_(device), progress_(progress) {}
  ~DeviceCommunicator() override;
  DeviceCommunicator(const DeviceCommunicator&) = delete;
  DeviceCommunicator& operator=(const DeviceCommunicator&) = delete;

  int rank() const final { return host_.rank(); }
  int size() const final { return host_.size(); }
  const std::string& name() const final { return host_.name(); }
  void report_to(Progress* progress) final { progress_ = progress; }
  Communicator& control() final { return host_; }
  void idle() final { host_.idle(); }

  void all_reduce_sum(void* data, std::size_t count, DType dtype) final;
  void all_reduce_max(void* data, std::size_t count, DType dtype) final;
  std::unique_ptr<Communicator> split(int colour, int key, const std::string& new_name) final;
  std::unique_ptr<SharedWindow> open_window(std::size_t bytes) final;
  void close_window(std::unique_ptr<SharedWindow> window) final;

 protected:
  virtual void all_reduce(Reduction reduction, void* data, std::size_t count, DType dtype) = 0;
  // The same kind of communicator over other ranks.
  virtual std::unique_ptr<DeviceCommunicator> over(Communicator& host) = 0;
  // `look` is called from now on while the host waits for the device.
  void watch(std::function<void()> look) { watch_ = device_.watch(std::move(look)); }
  cudaStream_t compute() const { return device_.stream(kComputeQueue); }

  Communicator& host_;
  StreamDevice& device_;
  Progress* progress_;

 private:
  std::unique_ptr<Communicator> own_host_;  // of a communicator that was split off
  int watch_ = -1;
};

}  // namespace lacuna
