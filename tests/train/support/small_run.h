// A small model trained on made-up tokens by ranks that are threads: every layout in one process.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "src/train/model_runner.h"
#include "src/train/trainer.h"

namespace lacuna::test {

// Nine layers, eight query heads over two key/value heads, odd vocabulary: divides by every tp up to 8 and
// leaves uneven cuts for every pp.
ModelConfig small_model();
// Weights whose element `at` of parameter p, row-major in the whole tensor, is value(p, at).
using ElementValue = std::function<double(const Parameter& p, std::int64_t at)>;
SlabSource weights_by_element(const ModelConfig& config, const ElementValue& value);
// Another model over the same vocabulary, and weights for it: what --distil learns from.
ModelConfig small_teacher();
SlabSource made_up_weights(const ModelConfig& config);
// One sequence of eight tokens a micro-batch, eight sequences a step, fp64.
TrainOptions small_options(int pp, int tp, int dp);

// Tokens are a hash of (sample, place): the same samples under every layout.
class MadeUpBatches : public BatchSource {
 public:
  MadeUpBatches(const TrainOptions& options, std::int64_t vocab, int dp_rank)
      : options_(options), vocab_(vocab), dp_rank_(dp_rank) {}
  StepBatch train(std::int64_t step) const override;
  StepBatch validation(std::int64_t sequences) const override;
  std::vector<std::vector<std::int32_t>> probe_sequences(int count, std::int64_t length) const override;

 private:
  StepBatch batch(std::int64_t first_sample, std::int64_t sequences) const;
  TrainOptions options_;
  std::int64_t vocab_;
  int dp_rank_;
};

// Global tensors as doubles, put together from every rank's owned rows.
using GlobalTensors = std::map<std::string, std::vector<double>>;

struct RunNumbers {
  std::vector<double> loss, norm, divergence;
  GlobalTensors first_gradients;     // of step 1, before clipping
  GlobalTensors weights;             // after the last step
  std::vector<ExecutorStats> stats;  // by rank
  std::vector<RankBytes> memory;     // by rank: what is held
  std::vector<RankBytes>
      planned;  // of the first tensor- and data-parallel rank of each stage, from the tables
};

// `steps` steps of small_model() (or of `config`) under `options`, with --distil from small_teacher(); on
// local threads.
RunNumbers run_layout(const TrainOptions& options, int steps, const ModelConfig& config = small_model());
// This rank's part of it, under any communicator; `out` is shared by the ranks of a process.
void run_rank(Communicator& world, const TrainOptions& options, int steps, const ModelConfig& config,
              RunNumbers& out, std::mutex& mutex);

// Puts the full-precision weights that this rank owns into `global`.
void add_weights(GlobalTensors& global, ModelRunner& runner);

// max over tensors of ‖a − b‖∞ / ‖b‖∞; infinity when the tensors differ in name or size.
double largest_difference(const GlobalTensors& a, const GlobalTensors& b);
bool same_bits(const GlobalTensors& a, const GlobalTensors& b);

}  // namespace lacuna::test
