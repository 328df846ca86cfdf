#include "recipes/common/calibration_inputs.h"

#include <ATen/ATen.h>

#include "src/base/error.h"

namespace lacuna {

void CalibrationInputs::add(int layer, const at::Tensor& inputs) {
  const at::ScalarType kept = inputs.scalar_type() == at::kDouble ? at::kFloat : inputs.scalar_type();
  pieces_[layer].push_back(inputs.to(kept, /*non_blocking=*/false, /*copy=*/true));
}

at::Tensor CalibrationInputs::gather(int layer, Communicator& dp) {
  const auto found = pieces_.find(layer);
  LACUNA_ASSERT(found != pieces_.end());
  const at::Tensor mine = at::stack(found->second).contiguous();  // [micro-batches, tokens, hidden]
  const at::Device device = mine.device();
  pieces_.erase(found);
  if (dp.size() == 1) return mine.flatten(0, 1);
  const at::Tensor host = mine.cpu();
  at::Tensor all = at::empty({dp.size(), host.size(0), host.size(1), host.size(2)}, host.options());
  dp.all_gather({static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()},
                {static_cast<std::byte*>(all.data_ptr()), all.nbytes()});
  return all.transpose(0, 1).contiguous().flatten(0, 2).to(device);
}

std::vector<int> CalibrationInputs::layers() const {
  std::vector<int> out;
  for (const auto& [layer, pieces] : pieces_) out.push_back(layer);
  return out;
}

LayerOwner owner_of(int layer, const Topology& topology) {
  return {layer % topology.tp, layer / topology.tp % topology.dp};
}

void share_with_stage(std::vector<std::byte>& bytes, const LayerOwner& owner, ParallelContext& context) {
  const auto over = [&](Communicator& group, int root) {
    if (group.size() == 1) return;
    std::uint64_t size = bytes.size();
    group.broadcast(root, std::as_writable_bytes(std::span(&size, 1)));
    bytes.resize(size);
    group.broadcast(root, bytes);
  };
  if (context.place.tp == owner.tp) over(*context.dp, owner.dp);
  over(*context.tp, owner.tp);
}

}  // namespace lacuna
