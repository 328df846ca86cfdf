// A stage that takes time and computes nothing: forward and backward are spins of given lengths on one
// multiprocessor, so all virtual stages of a GPU run side by side, and stashes of a given size move for real.
#pragma once

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
      : pace_(pace), pieces_(pieces), stream_(static_cast<cudaStream_t>(stream_of(device, kComputeQueue))) {}
  void forward(int, int, const std::byte*, std::byte*, StashPieces) override {
    spin(pace_.forward_ns, stream_);
  }
  void input_grad(int, int, const std::byte*, std::byte*, StashPieces) override {
    spin(pace_.backward_ns / 2, stream_);
  }
  void weight_grad(int, int, StashPieces) override { spin(pace_.backward_ns / 2, stream_); }
  void backward(int, int, const std::byte*, std::byte*, StashPieces) override {
    spin(pace_.backward_ns, stream_);
  }
  void reduce(int) override {}
  std::size_t boundary_bytes() const override { return pace_.boundary; }
  std::size_t piece_bytes(int, int) const override {
    return pace_.stash_bytes / static_cast<std::size_t>(pieces_);
  }

 private:
  Pace pace_;
  int pieces_;
  cudaStream_t stream_;
};

}  // namespace lacuna::test
