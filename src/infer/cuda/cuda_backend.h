// The blocks of a LLaMA-like model on a GPU. One token is one replay of a CUDA graph; up to kFew tokens are
// so many replays, with the same bits; more go through cuBLAS. Results do not change from run to run.
#pragma once

#include <memory>
#include <vector>

#include "src/infer/backend.h"
#include "src/infer/cuda/device_cache.h"
#include "src/infer/cuda/device_weights.h"
#include "src/infer/cuda/prefill.h"
#include "src/infer/cuda/token_step.h"

namespace lacuna {

class CudaBackend : public Backend {
 public:
  CudaBackend(DeviceWeights weights, FfnPath path, std::int64_t context);
  ~CudaBackend() override;

  std::int64_t max_step() const override { return 512; }
  void step(std::span<const std::int32_t> tokens, std::int64_t position) override;
  ConstRows logits(std::int64_t begin, std::int64_t count) override;
  std::int32_t likeliest(std::int64_t index) override;
  const FfnStatistics& statistics() const override;
  void clear_statistics() override;
  DeviceWeights& weights() { return weights_; }

 private:
  static constexpr std::int64_t kFew = 8;
  struct Pinned {
    StepState state;
    std::uint64_t best;
  };
  void replay(std::int32_t token, std::int64_t position);
  void record();
  void forget_graph();
  float* logits_room(std::int64_t count);

  DeviceWeights weights_;
  OwnedStream stream_;
  DeviceCache cache_;
  cuda::DecodeLaunch how_;
  TokenStep token_step_;
  std::unique_ptr<Prefill> prefill_;
  cudaGraphExec_t graph_ = nullptr;
  PinnedMemory pinned_, host_tokens_, host_logits_;
  DeviceMemory tokens_, few_, logits_;
  std::int64_t last_count_ = 0;  // tokens of the last step
  mutable FfnStatistics statistics_;
};

}  // namespace lacuna
