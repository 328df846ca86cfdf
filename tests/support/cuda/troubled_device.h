// A device between the executor and the real one that delays queues at random, or forgets to let a queue
// wait: with delays a forgotten wait shows as wrong data, and a complete table gives the right data at any
// speed.
#pragma once

#include <functional>

#include "parallel/run/cuda/cuda_device.h"
#include "src/base/rng.h"
#include "tests/support/cuda/fake_kernels.h"

namespace lacuna::test {

struct Trouble {
  std::uint64_t seed = 0;
  std::int64_t longest_ns = 0;               // delays of a queue before each of its actions, one in three
  std::function<bool(Queue)> forgets_waits;  // of this queue
};

class TroubledDevice final : public Device {
 public:
  TroubledDevice(Device& real, Trouble trouble) : real_(real), trouble_(std::move(trouble)) {}
  std::byte* allocate(std::size_t bytes) override { return real_.allocate(bytes); }
  void release(std::byte* data) noexcept override { real_.release(data); }
  Queue open_queue() override { return real_.open_queue(); }
  Mark mark(Queue queue) override { return real_.mark(queue); }
  void wait(Queue queue, Mark mark) override {
    if (!trouble_.forgets_waits || !trouble_.forgets_waits(queue)) real_.wait(queue, mark);
    delay(queue);
  }
  void recycle_marks() override { real_.recycle_marks(); }
  void copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) override {
    delay(queue);
    real_.copy(queue, to, from, bytes);
  }
  void finish(Queue queue) override { real_.finish(queue); }
  DeviceCounters counters() const override { return real_.counters(); }

 private:
  void delay(Queue queue) {
    if (trouble_.longest_ns == 0 || rng_below(trouble_.seed, draws_++, 3) != 0) return;
    const auto time = rng_below(trouble_.seed, draws_++, static_cast<std::uint64_t>(trouble_.longest_ns));
    spin(static_cast<std::int64_t>(time), static_cast<cudaStream_t>(stream_of(real_, queue)));
  }

  Device& real_;
  Trouble trouble_;
  std::uint64_t draws_ = 0;
};

}  // namespace lacuna::test
