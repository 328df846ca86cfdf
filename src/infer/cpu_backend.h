// The blocks of a LLaMA-like model on the CPU, in fp32. Every output is computed whole by one thread in one
// order, so logits depend neither on the number of threads nor on how tokens are cut into steps.
#pragma once

#include <vector>

#include "kernels/rope.h"
#include "kernels/scratch.h"
#include "src/base/thread_pool.h"
#include "src/infer/backend.h"
#include "src/infer/cpu_ffn.h"
#include "src/infer/kv_cache.h"
#include "src/infer/weights.h"

namespace lacuna {

class CpuBackend : public Backend {
 public:
  // `weights` outlives this. threads 0: as many as this process may run on.
  CpuBackend(const Weights& weights, FfnPath path, int threads, std::int64_t context);

  std::int64_t max_step() const override { return 512; }
  void step(std::span<const std::int32_t> tokens, std::int64_t position) override;
  ConstRows logits(std::int64_t begin, std::int64_t count) override;
  const FfnStatistics& statistics() const override { return statistics_; }
  void clear_statistics() override;
  void trace_routes(RouteTrace* trace) override { ffn_.trace(trace); }
  int threads() const { return pool_.size(); }

 private:
  struct Projection {
    const MatrixView* matrix;
    Rows out;
  };
  Rows buffer(std::vector<float>& storage, std::int64_t tokens, std::int64_t width);
  void reserve(std::int64_t positions);
  void normalise(ConstRows x, const std::vector<float>& weight, Rows out);
  void project(std::span<const Projection> projections, ConstRows x);
  void attend(std::int64_t layer, const LayerWeights& weights, std::int64_t position);
  void finish_query_key(const LayerWeights& weights, Rows query, Rows key, Rows value, std::int64_t position);
  void add(ConstRows from, Rows to);

  const Weights& weights_;
  const ModelConfig& config_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_, scores_;  // one per thread
  KvCache cache_;
  RopeSettings rope_settings_;
  RopeTable rope_;
  CpuFfn ffn_;
  FfnStatistics statistics_;
  std::vector<float> hidden_storage_, normed_storage_, query_storage_, key_storage_, value_storage_,
      context_storage_, change_storage_, logits_storage_;
  Rows hidden_, normed_, change_;  // of the current step: [tokens, hidden]
};

}  // namespace lacuna
