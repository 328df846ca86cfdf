// The sequences of a probe as a batch of equal micro-batches, and the logits of its ranks as those of the
// sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/run/communicator.h"
#include "src/model/llama_stage.h"

namespace lacuna {

// `sequences` of `length` tokens each, `per_micro` of them in a micro-batch, each padded to `width` tokens.
struct ProbeShape {
  std::size_t sequences = 0, length = 0, per_micro = 1, width = 0;
  std::size_t micros() const { return (sequences + per_micro - 1) / per_micro; }
};

using ProbeSequences = std::vector<std::vector<std::int32_t>>;

// All sequences have one length, from 1 to `width`.
ProbeShape probe_shape(const ProbeSequences& sequences, std::size_t per_micro, std::size_t width);
// One token is scored, so that there is a loss; it means nothing.
StepBatch probe_batch(const ProbeSequences& sequences, const ProbeShape& shape);
// Where the sequences of a micro-batch end, the same in every one.
std::vector<std::int64_t> last_tokens(const ProbeShape& shape);
// kept: for each micro-batch the logits at last_tokens, this rank's part of the vocabulary, padded. Returns
// [sequence][vocab]. Collective over tp.
std::vector<std::vector<double>> gather_logits(Communicator& tp, const std::vector<std::vector<double>>& kept,
                                               const ProbeShape& shape, std::int64_t vocab);

}  // namespace lacuna
