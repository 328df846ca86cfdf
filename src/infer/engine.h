// Runs a model on one sequence: weights, cache, positions, context. Logits are fp32.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "src/infer/backend.h"
#include "src/infer/weights.h"

namespace lacuna {

// Makes what runs the blocks; `weights` outlives it.
using BackendMaker =
    std::function<std::unique_ptr<Backend>(const Weights& weights, FfnPath path, std::int64_t context)>;

struct EngineOptions {
  int threads = 0;            // 0: as many as this process may run on
  std::string path = "auto";  // auto | dense | sparse; auto: sparse where the activation makes exact zeros
  std::int64_t context = 0;   // 0: the trained context
  BackendMaker backend = {};  // empty: the CPU
};

class Engine {
 public:
  // Error(Usage): context beyond the trained one (times the factor of a RoPE scaling); the sparse path on a
  // model whose activation has no exact zeros. Error(BadInput): what ModelSource refuses.
  Engine(ModelSource source, const EngineOptions& options);
  ~Engine();
  static std::unique_ptr<Engine> load(const std::string& path, const EngineOptions& options);

  const ModelConfig& config() const { return weights_.config(); }
  const Weights& weights() const { return weights_; }
  FfnPath path() const { return path_; }
  Backend& backend() { return *backend_; }
  std::int64_t context() const { return context_; }
  std::int64_t position() const { return position_; }  // tokens so far

  // Forgets the sequence; statistics stay.
  void reset() { position_ = 0; }

  // Appends `tokens` (at least one) and returns the logits [vocab] after the last; valid until the next call.
  // Error(BadInput): an id outside the vocabulary; Error(Usage): beyond the context. Nothing has changed
  // then.
  std::span<const float> prefill(std::span<const std::int32_t> tokens);
  std::span<const float> decode(std::int32_t token) { return prefill({&token, 1}); }
  // The same, and the likeliest next token instead of the logits: a GPU then moves four bytes.
  std::int32_t prefill_greedy(std::span<const std::int32_t> tokens);
  std::int32_t decode_greedy(std::int32_t token) { return prefill_greedy({&token, 1}); }

  // Appends `tokens` and shows the logits after every one of them, in blocks of rows [count, vocab]; row 0 of
  // a block follows tokens[first].
  using LogitsConsumer = std::function<void(std::int64_t first, ConstRows logits)>;
  void score(std::span<const std::int32_t> tokens, const LogitsConsumer& consume);

  // Routed models: from now on the experts of every token are recorded in `trace`, or taken from it. Null:
  // neither.
  void trace_routes(RouteTrace* trace) { backend_->trace_routes(trace); }

  const FfnStatistics& statistics() const { return backend_->statistics(); }
  void clear_statistics() { backend_->clear_statistics(); }

 private:
  void check(std::span<const std::int32_t> tokens) const;
  std::int64_t append(std::span<const std::int32_t> tokens);

  Weights weights_;
  FfnPath path_ = FfnPath::Dense;
  std::int64_t context_ = 0, position_ = 0;
  std::unique_ptr<Backend> backend_;
};

}  // namespace lacuna
