// A device whose copies take longer: after each copy its queue spins.
#pragma once

#include "parallel/run/cuda/cuda_device.h"
#include "tests/support/cuda/fake_kernels.h"

namespace lacuna::test {

class SlowCopies final : public Device {
 public:
  SlowCopies(Device& real, std::int64_t longer_ns) : real_(real), longer_ns_(longer_ns) {}
  std::byte* allocate(std::size_t bytes) override { return real_.allocate(bytes); }
  void release(std::byte* data) noexcept override { real_.release(data); }
  Queue open_queue() override { return real_.open_queue(); }
  Mark mark(Queue queue) override { return real_.mark(queue); }
  void wait(Queue queue, Mark mark) override { real_.wait(queue, mark); }
  void recycle_marks() override { real_.recycle_marks(); }
  void copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) override {
    real_.copy(queue, to, from, bytes);
    spin(longer_ns_, static_cast<cudaStream_t>(stream_of(real_, queue)));
  }
  void finish(Queue queue) override { real_.finish(queue); }
  DeviceCounters counters() const override { return real_.counters(); }

 private:
  Device& real_;
  std::int64_t longer_ns_;
};

}  // namespace lacuna::test
