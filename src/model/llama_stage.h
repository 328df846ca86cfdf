// One rank's part of a LLaMA-like model as the executor's Stage: consecutive blocks, with the embedding on
// the first stage and the final norm, head and loss on the last. No autograd; explicit stashes
// (src/arch/stash_layout.h). Tensor parallelism with sequence parallelism over the `tp` communicator.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "parallel/plan/topology.h"
#include "parallel/run/communicator.h"
#include "parallel/run/stage.h"
#include "src/arch/stash_layout.h"
#include "src/model/parameter_store.h"
#include "src/model/soft_targets.h"

namespace lacuna {

struct LlamaStageOptions {
  ModelConfig config;
  MicroShape shape;  // of one micro-batch; tp and compute type included
  StashKind stash = StashKind::Full;
  std::vector<LayerRange> cuts;  // layers of every global stage
  std::vector<int> my_stages;    // global stage indices of this rank, ascending
  int pieces = 1;                // stash pieces per stage
  Communicator* tp = nullptr;    // outlives the stage; size 1 without tensor parallelism
  at::Device device = at::kCPU;  // where weights, stashes and all buffers are
  bool frozen = false;           // weights without gradients: a backward pass has those of activations alone
};

// The micro-batches of one step on this data-parallel rank. Row-major [micros][sequences·seq_len].
struct StepBatch {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> targets;  // -1: not scored
  int micros = 0;
  double loss_scale = 1;  // 1 / valid tokens of the global batch: gradients are of the mean loss
  double l1 = 0;          // weight of mean over layers and tokens of sum |product| (FFN), added to the loss
  double l1_knee = 0;     // see Penalty::knee
  std::int64_t global_tokens = 1;  // of the global batch, for l1's mean
  bool gradients = true;           // false: a forward-only pass, no gradient is touched
  SoftTargets soft;                // a frozen teacher's, where there is one
};

// What the forward passes of a step counted on this rank, summed over its micro-batches.
struct FfnCounts {
  int layer = 0;           // global layer index
  std::int64_t zeros = 0;  // exact zeros of the FFN product on this rank's neurons
  std::int64_t elements = 0;
  double l1 = 0;  // sum of |product|
};

class LlamaStage : public Stage {
 public:
  explicit LlamaStage(LlamaStageOptions options);
  ~LlamaStage() override;

  ParameterStore& parameters();
  const LlamaStageOptions& options() const;

  // Before the step's first action. Clears losses and counts, not the gradients.
  void begin_step(StepBatch batch);
  // Losses and counts of a CUDA device start their way to the host; they are there once the device has been
  // waited for. Nothing to do on the CPU.
  void fetch();
  // Sum of the token losses (nats, fp64) of a micro-batch; on the last stage after its forward, else 0.
  double micro_loss(int micro) const;
  // Likewise Σ KL(teacher ‖ model); 0 without a teacher.
  double micro_divergence(int micro) const;
  std::vector<FfnCounts> ffn_counts() const;
  // Last stage: keeps, as fp64, the logits of these tokens (flat indices within a micro-batch) of every
  // following forward, before they become gradients. Empty: none.
  void keep_logits(std::vector<std::int64_t> tokens);
  const std::vector<std::vector<double>>& kept_logits() const;  // [micro][kept token · local vocabulary]

  // Calibration: called after each block's forward with views of the stash, [tokens, local neurons] in the
  // compute type. A recipe gathers its statistics here. Null: none.
  using FfnObserver =
      std::function<void(int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product)>;
  void observe_ffn(FfnObserver observer);
  // The same for what stands around an FFN: its input, all tokens of the micro-batch [tokens, hidden], after
  // each block's forward; and the gradient of its output, this rank's tokens [tokens/tp, hidden], before each
  // block's backward. Null: none.
  using TokenObserver = std::function<void(int layer, const at::Tensor& rows)>;
  void observe_ffn_inputs(TokenObserver observer);
  // Routed models: the gates of all tokens' experts [tokens, E], 0: off.
  void observe_experts(TokenObserver observer);
  void observe_ffn_output_grads(TokenObserver observer);

  // For a model that is only a teacher: last stage, the final norm's output [tokens/tp, hidden] of each
  // following forward, in place of logits and loss. Null: an ordinary model.
  using StateObserver = std::function<void(int micro, const at::Tensor& states)>;
  void observe_states(StateObserver observer);

  void set_reduce_hook(std::function<void(int stage)> hook);

  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override;
  void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                  StashPieces stash) override;
  void weight_grad(int stage, int micro, StashPieces stash) override;
  void backward(int stage, int micro, const std::byte* output_grad, std::byte* input_grad_out,
                StashPieces stash) override;
  void reduce(int stage) override;
  std::size_t boundary_bytes() const override;
  std::size_t piece_bytes(int stage, int piece) const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
