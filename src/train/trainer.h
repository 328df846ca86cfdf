// The training loop: steps, logs, evaluations, checkpoints, resume, stopping. What a step does is in
// model_runner; what may be changed from outside is in hooks.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "src/train/batches.h"
#include "src/train/hooks.h"
#include "src/train/model_runner.h"
#include "src/train/numeric_guard.h"
#include "src/train/options.h"
#include "src/train/parallel_context.h"

namespace lacuna {

// What stays the same for the whole run and goes into its checkpoints.
struct RunFacts {
  std::string folder;                        // the run
  std::string config_ini;                    // resolved configuration, as written beside the results
  std::string generation = "0", run_id;      // of the run folder's lock
  std::map<std::string, std::string> files;  // tokenizer files, bytes
  std::map<std::string, std::string> facts;  // "parent", "recipe", ...: carried into checkpoint state
  std::string data_identity;                 // hash of the token file; a resume must see the same
  std::string teacher_identity;              // of the model to distil from, "" without; likewise
};

struct TrainResult {
  std::int64_t first_step = 0, steps = 0;  // steps done before this call, and after it
  std::vector<double> loss, grad_norm;     // of the steps of this call
  std::vector<double> zeros_per_layer;     // of the last step
  double valid_loss = 0;                   // of the last evaluation; 0 without
  std::int64_t skipped = 0;
  bool stopped = false;                  // by a signal or --max-minutes
  std::string checkpoint, content_hash;  // of the last committed checkpoint
  double tokens_per_s = 0;               // median over the steps of this call
};

class Trainer {
 public:
  // All references outlive the trainer. Collective over the world.
  Trainer(ParallelContext& context, const TrainOptions& options, ModelRunner& runner,
          const BatchSource& batches, TrainHooks& hooks, const RunFacts& facts);
  ~Trainer();
  // Loads the run's newest committed step when there is one and --resume allows; true when it did.
  bool resume();
  // From the current step to --steps. Collective.
  TrainResult run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
