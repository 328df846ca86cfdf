#include "src/train/snapshot.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "src/base/error.h"

namespace lacuna {

namespace {

const std::string kExpAvg = "optim.exp_avg.", kExpAvgSq = "optim.exp_avg_sq.";

}  // namespace

SlabsToSave slabs_to_save(ShardedOptimizer& optimizer) {
  SlabsToSave out;
  const auto on_host = [&](const at::Tensor& tensor) {
    if (tensor.is_cpu()) return tensor.const_data_ptr();
    out.copies.push_back(tensor.to(at::kCPU));
    return out.copies.back().const_data_ptr();
  };
  for (const OwnedPart& part : optimizer.owned_parts()) {
    if (!part.writes) continue;
    const Parameter& spec = part.parameter->spec;
    const DType dtype = optimizer.accumulation();
    out.slabs.push_back({spec.name, dtype, spec.shape, part.slab, on_host(part.master)});
    out.slabs.push_back({kExpAvg + spec.name, dtype, spec.shape, part.slab, on_host(part.exp_avg)});
    out.slabs.push_back({kExpAvgSq + spec.name, dtype, spec.shape, part.slab, on_host(part.exp_avg_sq)});
  }
  return out;
}

void load_slabs(ShardedOptimizer& optimizer, const SlabSource& read, bool with_state) {
  const DType dtype = optimizer.accumulation();
  for (const OwnedPart& part : optimizer.owned_parts()) {
    if (part.slab.elements() == 0) continue;
    const auto fill = [&](const std::string& name, const at::Tensor& tensor) {
      if (tensor.is_cpu()) return read(name, part.slab, dtype, tensor.data_ptr());
      const at::Tensor host = at::zeros_like(tensor, tensor.options().device(at::kCPU));
      read(name, part.slab, dtype, host.data_ptr());
      tensor.copy_(host);
    };
    const std::string& name = part.parameter->spec.name;
    fill(name, part.master);
    if (!with_state) continue;
    fill(kExpAvg + name, part.exp_avg);
    fill(kExpAvgSq + name, part.exp_avg_sq);
  }
  optimizer.publish_weights();
}

void check_tensors(const ModelConfig& config, const std::map<std::string, TensorInfo>& tensors,
                   const std::string& where, bool with_state) {
  const auto want = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = tensors.find(name);
    LACUNA_CHECK(found != tensors.end(), ErrorKind::BadInput, "{}: tensor {} is missing", where, name);
    LACUNA_CHECK(found->second.shape == shape, ErrorKind::BadInput,
                 "{}: tensor {} has shape [{}], wanted [{}]", where, name,
                 fmt::join(found->second.shape, ", "), fmt::join(shape, ", "));
  };
  for (const Parameter& p : parameters(config)) {
    want(p.name, p.shape);
    if (!with_state) continue;
    want(kExpAvg + p.name, p.shape);
    want(kExpAvgSq + p.name, p.shape);
  }
}

}  // namespace lacuna
