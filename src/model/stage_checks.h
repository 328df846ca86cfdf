// What a stage asks of its options and of the tokens of a step, before anything is computed.
#pragma once

#include <cstdint>
#include <vector>

#include "src/model/llama_stage.h"

namespace lacuna {

// Error(Usage) when the micro-batch or the model does not divide over the tensor-parallel ranks.
void check_shape(const LlamaStageOptions& options);
// ids: micro-batches of `tokens` each. Error(BadInput) names the first that is not within [least, vocab), by
// its place and as `what`.
void check_ids(const std::vector<std::int32_t>& ids, std::int64_t tokens, std::int32_t least,
               std::int64_t vocab, const char* what);

}  // namespace lacuna
