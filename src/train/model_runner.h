// A model on this rank together with everything that moves it: stage, schedule, executor, optimizer. One call
// is one optimizer step, one evaluation pass or one probe. Knows nothing of files, logs or time. A frozen
// model has weights alone, neither gradients nor optimizer state: it evaluates, probes, calibrates and is
// saved.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "optim/sharded_state.h"
#include "parallel/plan/memory.h"
#include "parallel/plan/schedule.h"
#include "parallel/run/executor.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/llama_stage.h"
#include "src/train/options.h"
#include "src/train/parallel_context.h"
#include "src/train/probe_batch.h"
#include "src/train/snapshot.h"
#include "src/train/step_report.h"

namespace lacuna {

struct StepNumbers {
  double loss = 0;        // mean nats per scored token of the global batch
  double divergence = 0;  // likewise KL(teacher ‖ model); 0 without a teacher
  double grad_norm = 0;   // before clipping
  StepReport report;
};

enum class ModelUse : std::uint8_t { Trained, Frozen };

class ModelRunner {
 public:
  // Collective over the world. Weights start as zeros.
  ModelRunner(ParallelContext& context, const TrainOptions& options, const ModelConfig& config,
              ModelUse use = ModelUse::Trained);
  ~ModelRunner();

  void initialise(std::uint64_t seed);
  // with_state: the optimizer's too; a frozen model ignores it. What a frozen one finds `ready` it takes from
  // there; `read` must then give the same values, and serves as long as the model may be saved.
  void load(const SlabSource& read, bool with_state, const TensorSource& ready = nullptr);
  // From now on `share` of the loss of every step comes from the probabilities of this frozen model, which is
  // read now. Error(Usage) when its vocabulary is not the model's. Collective over the world.
  void distil_from(const ModelConfig& teacher, const SlabSource& weights, double share);

  // Forward, backward and reduction of one global batch: gradients are ready, nothing is updated yet. This
  // and what follows down to first_bad_gradient is for trained models.
  StepNumbers accumulate(StepBatch batch, const SignalFlags& signals);
  // AdamW with the accumulated gradients, clipped to `clip` (0: not), then clears them. `update` counts
  // from 1.
  void update(double lr, double clip, double grad_norm, std::int64_t update);
  void drop_gradients();
  // Names the first local parameter with a NaN or infinity in its gradient, "" when all are finite;
  // collective, the lowest rank's finding wins.
  std::string first_bad_gradient();

  // Forward only, over equal micro-batches; the numbers are those of accumulate without a norm.
  StepNumbers evaluate(StepBatch batch);
  // Shows every block's FFN of a forward-only pass to `observer` (calibration).
  void calibrate(StepBatch batch, const LlamaStage::FfnObserver& observer);
  // The same with every FFN's input; and with the gradients of the mean loss of the batch by every FFN's
  // output, which takes a backward pass (through activations alone where the model is frozen).
  void calibrate_inputs(StepBatch batch, const LlamaStage::TokenObserver& observer);
  void calibrate_output_grads(StepBatch batch, const LlamaStage::TokenObserver& observer);
  // Logits of the trainer's own forward after each sequence (each no longer than seq-len). The rank that
  // holds the result (last stage, first of tp and dp) returns it, the others an empty probe. Collective.
  Probe probe(const ProbeSequences& sequences);

  const ModelConfig& config() const;
  ParameterStore& weights();
  ShardedOptimizer& optimizer();  // of a trained model
  SlabsToSave slabs_to_save();
  const Schedule& schedule() const;
  const ExecutorStats& stats() const;
  // Bytes by class of every rank of this rank's pipeline, from the tables alone. Collective over it.
  std::vector<RankBytes> memory() const;
  int micros_per_step() const;
  void close();  // collective

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
