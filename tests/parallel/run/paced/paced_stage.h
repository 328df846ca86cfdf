// A stage that takes time and computes nothing: forward and backward are spins of given lengths on one
// multiprocessor, so all virtual stages of a GPU run side by side, and stashes of a given size move for real.
// The host stays a few actions ahead, as with a real stage, whose launches fill its queue.
#pragma once

#include <array>
#include <chrono>
#include <thread>

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/stage.h"
#include "tests/support/cuda/fake_kernels.h"

namespace lacuna::test {

struct Pace {
  std::int64_t forward_ns = 1'500'000, backward_ns = 3'000'000;
  std::size_t stash_bytes = std::size_t{96} << 20, boundary = std::size_t{1} << 20;
};

class PacedStage final : public Stage {
 public:
  PacedStage(Pace pace, int pieces, Device& device)
      : pace_(pace), pieces_(pieces), stream_(static_cast<cudaStream_t>(stream_of(device, kComputeQueue))) {
    for (cudaEvent_t& event : ended_)
      LACUNA_CUDA_CALL(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  }
  ~PacedStage() override {
    for (cudaEvent_t event : ended_) cudaEventDestroy(event);
  }
  void forward(int, int, const std::byte*, std::byte*, StashPieces) override { work(pace_.forward_ns); }
  void input_grad(int, int, const std::byte*, std::byte*, StashPieces) override {
    work(pace_.backward_ns / 2);
  }
  void weight_grad(int, int, StashPieces) override { work(pace_.backward_ns / 2); }
  void backward(int, int, const std::byte*, std::byte*, StashPieces) override { work(pace_.backward_ns); }
  void reduce(int) override {}
  std::size_t boundary_bytes() const override { return pace_.boundary; }
  std::size_t piece_bytes(int, int) const override {
    return pace_.stash_bytes / static_cast<std::size_t>(pieces_);
  }

 private:
  static constexpr std::size_t kAhead = 8;  // actions
  void work(std::int64_t nanoseconds) {
    cudaEvent_t ended = ended_[issued_++ % kAhead];  // of the action that far back
    while (cudaEventQuery(ended) == cudaErrorNotReady)
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    spin(nanoseconds, stream_);
    LACUNA_CUDA_CALL(cudaEventRecord(ended, stream_));
  }

  Pace pace_;
  int pieces_;
  std::array<cudaEvent_t, kAhead> ended_{};
  std::size_t issued_ = 0;
  cudaStream_t stream_;
};

}  // namespace lacuna::test
