// The memory of a rank that is neither model nor stash: buffers that live inside one call, and what the
// libraries take.
#pragma once

#include <cstddef>

#include "src/arch/stash_layout.h"

namespace lacuna {

// Bytes of the workspace of a rank with blocks of one micro-batch shape; has_head: it makes logits. On CUDA
// with the most that attention's backward pass holds at once (its three results, and a sum of query gradients
// in fp32) and cuBLASLt's workspace.
std::size_t scratch_bytes(const ModelConfig& config, const MicroShape& shape, StashKind kind, bool has_head,
                          bool cuda);

// What the last stage keeps of a teacher: its final states of every micro-batch, those of all tokens of one,
// and a chunk of its logits.
std::size_t taught_bytes(const ModelConfig& teacher, const MicroShape& shape, int micros);

}  // namespace lacuna
