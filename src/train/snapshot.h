// Between a running training and a checkpoint: which slabs a rank writes, and how it fills itself from any
// layout's slabs.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "optim/sharded_state.h"
#include "src/checkpoint/checkpoint.h"

namespace lacuna {

// This rank's slabs of weights and optimizer state. They point into the optimizer, or into copies on the host
// where that lives on a GPU.
struct SlabsToSave {
  std::vector<TensorSlab> slabs;
  std::vector<at::Tensor> copies;
};
SlabsToSave slabs_to_save(ShardedOptimizer& optimizer);

// Fills the full-precision weights (and, with_state, the moments) of this rank, then makes the working
// weights follow. Collective over dp. `read` gives a rectangle of a global tensor in the wanted type.
using SlabSource = std::function<void(const std::string& name, const Slab& slab, DType dtype, void* dst)>;
void load_slabs(ShardedOptimizer& optimizer, const SlabSource& read, bool with_state);

// Names and shapes that `config` wants but `tensors` lacks or has differently; Error(BadInput) with the first
// few, empty-handed otherwise.
void check_tensors(const ModelConfig& config, const std::map<std::string, TensorInfo>& tensors,
                   const std::string& where, bool with_state);

}  // namespace lacuna
