// The routed FFN on the CPU: the shared neurons for every token, then expert by expert for the tokens that
// have it on, then the means of experts that are off. A token's sum runs in this order whatever its
// companions, so any cut into steps gives equal bits; a token with all experts on is computed as in the dense
// model, bit for bit. The dense path reads all experts and drops those that are off.
#pragma once

#include <vector>

#include "src/infer/backend.h"
#include "src/infer/router.h"
#include "src/infer/weights.h"

namespace lacuna {

class CpuRoutedFfn {
 public:
  // `scratch` has one entry per thread of `pool`; both outlive this. Error(Usage) for an oracle router off
  // the dense path, since it reads every neuron.
  CpuRoutedFfn(const ModelConfig& config, FfnPath path, ThreadPool& pool, std::vector<Scratch>& scratch);

  // x and out [tokens, hidden], the first token at `position`; counts into `statistics`.
  void forward(const LayerWeights& weights, bool neuron_major, ConstRows x, std::int64_t position, Rows out,
               FfnStatistics::Layer& statistics);
  void trace(RouteTrace* trace) { router_.trace(trace); }

 private:
  // Neurons [begin, end) for some tokens (rows of x), whose outputs are added times their gates.
  struct Part {
    std::int64_t begin = 0, end = 0;
    std::vector<std::int64_t> tokens;
    std::vector<float> gates;
  };

  std::span<const float> choose(const LayerWeights& weights, bool neuron_major, ConstRows x,
                                std::int64_t position);
  void list_parts(const RouterWeights& router, std::span<const float> gates, std::int64_t tokens);
  std::int64_t multiply(const LayerWeights& weights, const Part& part, ConstRows x);
  void project_down(const LayerWeights& weights, bool neuron_major, const Part& part);
  std::int64_t multiply_one(const LayerWeights& weights, std::int64_t neurons, ConstRows x);
  void project_one(const LayerWeights& weights, bool neuron_major, Rows out);
  void add_output(const Part& part, Rows out);
  void add_means(const RouterWeights& router, std::span<const float> gates, Rows out);

  const ModelConfig& config_;
  FfnPath path_;
  ThreadPool& pool_;
  std::vector<Scratch>& scratch_;
  Router router_;
  std::vector<Part> parts_;
  std::vector<float> x_, gate_, up_, output_, scores_;
};

}  // namespace lacuna
