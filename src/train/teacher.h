// A frozen model beside the one that is trained: a forward-only pass over each batch, under the same layout,
// from which the student's loss takes its soft targets. It has weights and no gradients, moments or losses;
// what is kept of a pass is the last stage's final states.
#pragma once

#include <memory>

#include "src/model/llama_stage.h"
#include "src/train/parallel_context.h"
#include "src/train/snapshot.h"

namespace lacuna {

class Teacher {
 public:
  // `stage` describes the teacher under the student's layout and micro-batches; it may have other layers and
  // sizes, but the same vocabulary. `weights` is read once. `context` outlives the teacher.
  Teacher(ParallelContext& context, LlamaStageOptions stage, const SlabSource& weights);
  ~Teacher();
  // Collective over the pipeline. The tensors are the teacher's, valid until the next call.
  SoftTargets targets(StepBatch batch, double share);
  // On this rank, with passes over so many micro-batches: weights, and what such a pass and the student's
  // loss need of it. From the tables.
  std::size_t bytes(int micros) const;
  void close();  // collective, as Executor::close

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
