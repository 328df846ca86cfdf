// The FFN of one block on the CPU. Dense reads every row; sparse computes the gate of all neurons, then reads
// the up rows only where the gate is open and the down rows only where the product is not zero. For relu and
// dReLU both give the same bits: every output adds its neurons in ascending order, and zeros change nothing.
// A routed FFN is cpu_ffn_routed's.
#pragma once

#include <optional>
#include <vector>

#include "kernels/scratch.h"
#include "src/base/thread_pool.h"
#include "src/infer/active_runs.h"
#include "src/infer/backend.h"
#include "src/infer/cpu_ffn_routed.h"
#include "src/infer/weights.h"

namespace lacuna {

class CpuFfn {
 public:
  // `scratch` has one entry per thread of `pool`; both outlive this. Sparse needs neuron-major weights.
  CpuFfn(const ModelConfig& config, FfnPath path, ThreadPool& pool, std::vector<Scratch>& scratch);

  // out[t] = down(act(gate(x[t]), up(x[t]))), x and out [tokens, hidden], the first token at `position`;
  // counts into `statistics`.
  void forward(const LayerWeights& weights, bool neuron_major, ConstRows x, std::int64_t position, Rows out,
               FfnStatistics::Layer& statistics);
  // See Router::trace; nothing to do for a dense FFN.
  void trace(RouteTrace* trace) {
    if (routed_) routed_->trace(trace);
  }

 private:
  void project(const MatrixView& matrix, const ActiveRuns& rows, ConstRows x, Rows out);
  std::int64_t multiply(const ActiveRuns& rows, Rows gate, ConstRows up);
  void project_down(const MatrixView& down, bool neuron_major, const ActiveRuns& rows, ConstRows product,
                    Rows out);

  const ModelConfig& config_;
  FfnPath path_;
  ThreadPool& pool_;
  std::vector<Scratch>& scratch_;
  ActiveRuns whole_, open_, nonzero_;
  std::vector<float> gate_, up_;
  std::optional<CpuRoutedFfn> routed_;
};

}  // namespace lacuna
