#include "src/train/snapshot.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cstring>

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

void load_frozen(ParameterStore& store, const SlabSource& read, const TensorSource& ready) {
  const DType dtype = store.accumulation();
  for (LocalParameter& p : store.all()) {
    const Slab& slab = p.local.slab;
    if (slab.elements() == 0) continue;
    at::Tensor weight = p.weight;  // less what pads it
    for (std::size_t d = 0; d < slab.extent.size(); ++d)
      weight = weight.narrow(static_cast<std::int64_t>(d), 0, slab.extent[d]);
    if (const at::Tensor there = ready ? ready(p.spec.name, slab) : at::Tensor{}; there.defined()) {
      weight.copy_(there);
      continue;
    }
    const at::Tensor values = at::empty(slab.extent, scalar_type(dtype));
    read(p.spec.name, slab, dtype, values.data_ptr());
    weight.copy_(values);
  }
}

SlabsToSave slabs_of_frozen(const ParameterStore& store, const Communicator& dp, const SlabSource& read) {
  SlabsToSave out;
  const DType dtype = store.accumulation();
  for (const LocalParameter& p : store.all()) {
    const Slab slab = slab_of_rows(p.local, owned_rows(p.local, dp.rank(), dp.size()));
    if (p.tied_copy || p.local.replica != 0 || slab.elements() == 0) continue;
    const std::string& name = p.spec.name;
    out.slabs.push_back(
        {name, dtype, p.spec.shape, slab, nullptr, [=](void* dst) { read(name, slab, dtype, dst); }});
  }
  return out;
}

TensorSource ready_weights(const ParameterStore& store) {
  return [&store](const std::string& name, const Slab& slab) -> at::Tensor {
    for (const LocalParameter& p : store.all()) {
      if (p.spec.name != name) continue;
      at::Tensor part = p.weight;
      for (std::size_t d = 0; d < slab.extent.size(); ++d) {
        const std::int64_t first = slab.offset[d] - p.local.slab.offset[d];
        if (first < 0 || first + slab.extent[d] > p.local.slab.extent[d]) return {};
        part = part.narrow(static_cast<std::int64_t>(d), first, slab.extent[d]);
      }
      return part;
    }
    return {};
  };
}

SlabSource own_weights(const ParameterStore& store) {
  return [ready = ready_weights(store)](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const at::Tensor part = ready(name, slab);
    LACUNA_CHECK(part.defined(), ErrorKind::Internal, "this rank does not hold that part of '{}'", name);
    const at::Tensor host = part.to(scalar_type(dtype)).cpu().contiguous();
    std::memcpy(dst, host.const_data_ptr(), host.nbytes());
  };
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
