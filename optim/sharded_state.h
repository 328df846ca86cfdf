// ZeRO-1: every data-parallel rank owns consecutive rows of each parameter (owned_rows), keeps the optimizer
// state and the full-precision weights of those rows only, and receives only their summed gradients.
//
// A stage's rows are laid out in one flat bucket per owner, parameter after parameter, so that one
// reduce-scatter and one all-gather serve a whole stage. Sums are element-wise in rank order: buckets change
// no bit. Without data parallelism there is no bucket: gradients are read, and weights written, where they
// are. Parameters that several tensor-parallel ranks hold (norms, replicated key/value heads) are summed over
// their holders first.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "optim/adamw.h"
#include "optim/local_parameter.h"
#include "parallel/run/communicator.h"
#include "src/base/dtype.h"

namespace lacuna {

// What the optimizer needs of the rank's place. All outlive it.
struct OptimizerComms {
  Communicator* tp = nullptr;    // same stage, same data
  Communicator* dp = nullptr;    // same stage, same tensor slice
  Communicator* tied = nullptr;  // the ranks with a copy each of a tied embedding; null: one rank has both
};

// One parameter's owned part, as the checkpoint sees it: flat tensors of the accumulation type on the model's
// device, the first slab.elements() of them stored (what follows pads the vocabulary).
struct OwnedPart {
  const LocalParameter* parameter = nullptr;
  Slab slab;            // stored part of the owned rows at its global place; may be empty
  bool writes = false;  // this rank writes it (first replica, not a tied copy, not empty)
  at::Tensor master, exp_avg, exp_avg_sq;
  at::Tensor grad;  // summed over replicas and data parallel; valid from reduce() on
};

class ShardedOptimizer {
 public:
  // Collective over tp (communicators of replica groups). `parameters` keep their place in memory.
  ShardedOptimizer(std::vector<LocalParameter>& parameters, const OptimizerComms& comms,
                   const AdamWOptions& options, DType compute);
  ~ShardedOptimizer();

  // Sums the stage's gradients over replica groups and data parallel into the owned rows.
  void reduce(int stage);
  // After all stages are reduced: a tied embedding's two accumulators are added once, embedding first.
  // Collective over `tied`; nothing to do on a rank without a copy.
  void add_tied();
  // On a CUDA device: queues what squared_norms() will read; it is there once the device has been waited for.
  // Nothing to do on the CPU.
  void fetch_norms();
  // Per parameter (same order as the constructor's list): sum of squares of the owned gradient rows in fp64;
  // 0 for tied copies and for replicas but the first, so that the sum over all ranks counts each element
  // once.
  std::vector<double> squared_norms() const;
  // AdamW on the owned rows with gradients times grad_scale, then every rank gets all rows of its weights.
  void step(double lr, double grad_scale, std::int64_t step_number);

  // Checkpoint and resume. After the owned parts were written into, publish_weights() makes the working
  // weights follow the masters (collective over dp).
  std::vector<OwnedPart> owned_parts();
  void publish_weights();
  // After working weights were set directly (initialisation): masters follow them.
  void adopt_weights();

  DType accumulation() const;
  std::size_t state_bytes() const;  // masters, moments and reduced gradients held here

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
