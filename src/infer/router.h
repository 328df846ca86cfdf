// The router of a routed FFN (src/arch/routed_ffn.h) as a producer of active experts: from the FFN's input to
// the gate of every expert for every token, 0 for those that are off. An expert is one active run.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/matrix.h"
#include "kernels/scratch.h"
#include "src/arch/model_config.h"
#include "src/base/thread_pool.h"
#include "src/infer/route_trace.h"

namespace lacuna {

// A layer's router and experts; empty in a dense model. Matrices are row-major floats.
struct RouterWeights {
  std::int64_t layer = 0;
  RoutedLayer neurons;
  std::vector<float> weight;       // [E, hidden], linear and lowrank
  std::vector<float> gate, up;     // [E·rank, hidden], lowrank and neuron
  std::vector<float> bias, scale;  // [E], where the router has them
  std::vector<float> mean;         // [E, hidden]
};

class Router {
 public:
  // `scratch` has one entry per thread of `pool`; both outlive this.
  Router(const ModelConfig& config, ThreadPool& pool, std::vector<Scratch>& scratch);

  // Gates [tokens, E] of x [tokens, hidden], whose first token stands at `position`. A token's gates do not
  // depend on its companions. Valid until the next call.
  std::span<const float> gates(const RouterWeights& weights, ConstRows x, std::int64_t position);
  // The same from scores [tokens, E] that somebody else made (oracle).
  std::span<const float> gates_of_scores(const RouterWeights& weights, std::span<const float> scores,
                                         ConstRows x, std::int64_t position);
  // From now on choices are recorded in `trace` or taken from it; it outlives their use. Null: neither.
  void trace(RouteTrace* trace) { trace_ = trace; }

 private:
  void project(const std::vector<float>& matrix, ConstRows x, std::vector<float>& out);
  void score(const RouterWeights& weights, ConstRows x);
  void score_rows(std::int64_t tokens);
  void choose(const RouterWeights& weights, const float* scores, float* gates);
  void choose_at_random(const RouterWeights& weights, std::int64_t position, float* gates);
  void apply_trace(const RouterWeights& weights, ConstRows x, std::int64_t position, std::int64_t token,
                   const float* scores, float* gates);
  std::vector<double> deviations(const RouterWeights& weights, ConstRows x, std::int64_t token,
                                 const float* scores) const;

  const ModelConfig& config_;
  ThreadPool& pool_;
  std::vector<Scratch>& scratch_;
  std::vector<float> scores_, rows_a_, rows_b_, gates_;
  std::vector<float> keys_;
  std::vector<std::int64_t> order_;
  RouteTrace* trace_ = nullptr;
};

}  // namespace lacuna
