// Where batches come from, as the trainer sees it: a pure function of the step, so that a resumed run, and a
// run under another layout, sees the same tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "src/model/llama_stage.h"

namespace lacuna {

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // This replica's share of the global batch of `step`.
  virtual StepBatch train(std::int64_t step) const = 0;
  // This replica's share of `sequences` kept-out windows (a multiple of micro-batch x dp), always the same.
  virtual StepBatch validation(std::int64_t sequences) const = 0;
  // The first `length` tokens of a few training windows, equal on every rank.
  virtual std::vector<std::vector<std::int32_t>> probe_sequences(int count, std::int64_t length) const = 0;
};

}  // namespace lacuna
