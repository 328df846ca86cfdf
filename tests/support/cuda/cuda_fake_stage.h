// The fake stage on a device: the same arithmetic as tests/parallel/run/fake_stage.h, every stash word and
// every boundary checked there; the host looks at the result after the last step.
#pragma once

#include <vector>

#include "parallel/run/executor.h"
#include "tests/parallel/run/fake_stage.h"
#include "tests/support/cuda/fake_kernels.h"

namespace lacuna::test {

class CudaFakeStage : public Stage {
 public:
  CudaFakeStage(const Schedule& schedule, Device& device, std::size_t piece_words);
  void begin_step(int step) { step_ = step; }

  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override;
  void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                  StashPieces stash) override;
  void weight_grad(int stage, int micro, StashPieces stash) override;
  void reduce(int) override {}
  std::size_t boundary_bytes() const override { return kFakeWords * sizeof(std::uint64_t); }
  std::size_t piece_bytes(int stage, int piece) const override;

  // What this rank adds to the outcome, and the stash words that were wrong. Waits for the device.
  struct Result {
    std::uint64_t gradient = 0, loss = 0, wrong_words = 0;
  };
  Result result();
  void forget();  // gradients and losses so far

 private:
  FakeWork work(int stage, int micro, const std::byte* input, std::byte* output);
  void fill(int stage, StashPieces stash, const std::uint64_t* key);
  void check(int stage, StashPieces stash, const std::uint64_t* key);

  const Schedule& schedule_;
  Device& device_;
  cudaStream_t stream_;
  std::size_t piece_words_;
  int step_ = 0;
  DeviceBytes keys_;  // forward and backward key of every (stage, micro), gradients, loss, wrong words
};

// Steps of a schedule on this rank over `comm`, whose device the executor reaches through `device` (the same,
// or one that interferes); outcome summed over ranks.
struct CudaOutcome : FakeOutcome {
  std::uint64_t wrong_words = 0;
  std::vector<DeviceCounters> after_step;
};
CudaOutcome run_cuda_fake(const Schedule& schedule, Communicator& comm, Device& device, Device& real,
                          int steps, std::size_t piece_words);

}  // namespace lacuna::test
