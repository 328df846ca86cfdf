// The list that every kind of sparsity becomes: the runs of neurons that take part in a step. Producers below
// make it; the kernels that read weights by runs know nothing of where it came from.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/matrix.h"

namespace lacuna {

class ActiveRuns {
 public:
  // A dense layer: one run.
  static ActiveRuns whole(std::int64_t neurons);

  void clear();
  // `neuron` lies beyond all neurons so far; neighbours join into one run.
  void add(std::int32_t neuron);
  Runs runs() const { return runs_; }
  std::int64_t count() const { return count_; }  // active neurons

  // The active neurons number [begin, end) of the list, as runs: one thread's share.
  ActiveRuns slice(std::int64_t begin, std::int64_t end) const;

 private:
  void append(ActiveRun run);
  std::vector<ActiveRun> runs_;
  std::int64_t count_ = 0;
};

// Exact gate: neurons that relu(gate) lets through for at least one of the tokens (gate > 0, or NaN).
// Only the neurons in `within` are looked at.
void active_by_gate(ConstRows gate, Runs within, ActiveRuns& out);
// Neurons of `within` whose product is not exactly zero for at least one of the tokens.
void active_by_product(ConstRows product, Runs within, ActiveRuns& out);

}  // namespace lacuna
