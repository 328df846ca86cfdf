// The FFN inputs of one rank's layers over the calibration tokens, gathered from forward passes of any layout
// and put into the order of the global samples, so that what is computed from them depends on no layout.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/train/parallel_context.h"

namespace lacuna {

class CalibrationInputs {
 public:
  // Once per micro-batch in ascending order: inputs [tokens of a micro-batch, hidden], all tokens of it.
  void add(int layer, const at::Tensor& inputs);
  // All replicas' tokens of a layer, [tokens, hidden] in the type they came in, F64 as F32: sample k of
  // micro-batch m on replica r stands at place (m·dp + r)·b + k of its step. Collective over dp; the pieces
  // are dropped.
  at::Tensor gather(int layer, Communicator& dp);
  std::vector<int> layers() const;

 private:
  std::map<int, std::vector<at::Tensor>> pieces_;
};

// The rank of a layer's group (all ranks of its stage) that does the layer's own work: layers in turn.
struct LayerOwner {
  int tp = 0, dp = 0;
};
LayerOwner owner_of(int layer, const Topology& topology);
inline bool is_owner(const LayerOwner& owner, const Coordinates& place) {
  return owner.tp == place.tp && owner.dp == place.dp;
}
// From a layer's owner to all ranks of its stage. Collective over them; `bytes` is resized where it is
// filled.
void share_with_stage(std::vector<std::byte>& bytes, const LayerOwner& owner, ParallelContext& context);

}  // namespace lacuna
