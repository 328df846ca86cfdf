// The stash: everything a chunk keeps of one micro-batch between its forward and its backward. A table of
// slots per transformer block, in two layouts of the same bytes: after `forward`, and after `input_grad`,
// which overwrites activations that are no longer needed with the gradients that `weight_grad` needs.
// Planner, trainer and memory report read the same table.
//
// Per token and in elements of the compute type (h hidden, q query width, k key/value width, f neurons; all
// over tp, because sequence parallelism splits tokens where tensor parallelism does not split features):
//
//   slot        elements   after forward            after input_grad
//   input       h          block input x            gradient of the attention output projection's output
//   norm1       h          RMSNorm(x)               same
//   query       q          rotated q                gradient of q before rotation (and before its norm)
//   key, value  k each     rotated k, v             their gradients, same
//   context     q          attention's output       same
//   middle      h          x + attention            gradient of the block's output
//   norm2       h          RMSNorm(middle)          same
//   gate, up    f each     before activation        their gradients
//   product     f          act(gate)·up             same
//   lse         heads      log-sum-exp (statistic)  unused
//   rstd1,rstd2 1 each     1/rms (statistic)        unused
//   query_raw, key_raw     q, k before their norms  unused (the four slots exist only with qk_norm)
//   query_rstd, key_rstd   1/rms of each head       unused
//
// A routed FFN with E experts (src/arch/routed_ffn.h) has `product` before experts are switched off, and
// after input_grad with the gates multiplied in; and for a router with weights, r rows an expert where it has
// rows:
//
//   experts     E          gate of each expert, 0: off (statistic)   same
//   score       E          router's scores (statistic)               their gradients   (a rank's own tokens)
//   router_gate, router_up E·r each  A·x and B·x                     their gradients   (a rank's own tokens)
//
// The gradients of the norms' weights are added by input_grad, which still has the gradient of a norm's
// output, and so is that of a router's scale; those of all matrices and biases by weight_grad, which needs
// exactly the second layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/dtype.h"

namespace lacuna {

enum class StashKind : std::uint8_t {
  Full,       // every slot of the table above
  Recompute,  // only `input`: backward runs forward again first
};

struct StashSlot {
  std::string_view name;
  std::int64_t rows = 0, cols = 0;  // [rows, cols] row-major on this rank
  DType dtype = DType::F32;
  std::size_t offset = 0;  // bytes from the start of the block's stash; a multiple of 64
  std::size_t bytes() const { return static_cast<std::size_t>(rows * cols) * size_of(dtype); }
};

struct StashLayout {
  std::vector<StashSlot> slots;
  std::size_t bytes = 0;                             // whole, a multiple of 64
  const StashSlot& at(std::string_view name) const;  // Error(Internal) when absent
};

// The shape of one micro-batch on one rank.
struct MicroShape {
  std::int64_t sequences = 1, seq_len = 1;
  int tp = 1;
  DType compute = DType::F32;  // F64, F32 or BF16
  std::int64_t tokens() const { return sequences * seq_len; }
  std::int64_t local_tokens() const { return tokens() / tp; }  // tokens must divide by tp
  // Statistics (lse, rstd) and reductions: F64 for F64, F32 otherwise.
  DType statistic() const { return compute == DType::F64 ? DType::F64 : DType::F32; }
};

StashLayout block_stash(const ModelConfig& config, const MicroShape& shape, StashKind kind);

// The stash of the last stage's final norm, head and loss: the norm's input and statistic, and `norm`, its
// output, which the head's forward replaces by its gradient. No logits: see head_rows.
StashLayout head_stash(const ModelConfig& config, const MicroShape& shape);

// The logits are made, scored and turned into gradients for this many tokens at a time, an eighth of a
// micro-batch where that is enough to fill a matrix product: all of them never exist at once.
std::int64_t head_rows(const MicroShape& shape);

// Bytes of the activation (and of its gradient) that passes between two stages.
std::size_t boundary_bytes(const ModelConfig& config, const MicroShape& shape);

}  // namespace lacuna
