// Between a running training and a checkpoint: which slabs a rank writes, and how it fills itself from any
// layout's slabs. A frozen model (src/model/llama_stage.h) has weights alone, in the type it computes in: it
// is filled from wherever values lie ready, and saved from where it was filled from.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "optim/sharded_state.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/parameter_store.h"

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

// A rectangle of a global tensor as it lies somewhere already, on any device and in any floating type, shaped
// as the slab; undefined where it lies nowhere. Valid while its owner is.
using TensorSource = std::function<at::Tensor(const std::string& name, const Slab& slab)>;
// Fills the weights of a frozen model: from `ready` (may be null) what lies ready, the rest from `read`.
void load_frozen(ParameterStore& store, const SlabSource& read, const TensorSource& ready = nullptr);
// The slabs of a frozen model, in full precision: each is read from `read` when it is written, and the ranks
// of `dp` share the work by rows. No moments: all were zero.
SlabsToSave slabs_of_frozen(const ParameterStore& store, const Communicator& dp, const SlabSource& read);
// What a frozen model holds itself, as sources: the weights of this rank, and nothing else.
TensorSource ready_weights(const ParameterStore& store);
SlabSource own_weights(const ParameterStore& store);

// Names and shapes that `config` wants but `tensors` lacks or has differently; Error(BadInput) with the first
// few, empty-handed otherwise.
void check_tensors(const ModelConfig& config, const std::map<std::string, TensorInfo>& tensors,
                   const std::string& where, bool with_state);

}  // namespace lacuna
