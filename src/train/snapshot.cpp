#include "src/train/snapshot.h"

#include <fmt/ranges.h>

#include "src/base/error.h"

namespace lacuna {

namespace {

const std::string kExpAvg = "optim.exp_avg.", kExpAvgSq = "optim.exp_avg_sq.";

}  // namespace

std::vector<TensorSlab> slabs_to_save(ShardedOptimizer& optimizer) {
  std::vector<TensorSlab> slabs;
  for (const OwnedPart& part : optimizer.owned_parts()) {
    if (!part.writes) continue;
    const Parameter& spec = part.parameter->spec;
    const DType dtype = optimizer.accumulation();
    slabs.push_back({spec.name, dtype, spec.shape, part.slab, part.master});
    slabs.push_back({kExpAvg + spec.name, dtype, spec.shape, part.slab, part.exp_avg});
    slabs.push_back({kExpAvgSq + spec.name, dtype, spec.shape, part.slab, part.exp_avg_sq});
  }
  return slabs;
}

void load_slabs(ShardedOptimizer& optimizer, const SlabSource& read, bool with_state) {
  const DType dtype = optimizer.accumulation();
  for (const OwnedPart& part : optimizer.owned_parts()) {
    if (part.slab.elements() == 0) continue;
    const std::string& name = part.parameter->spec.name;
    read(name, part.slab, dtype, part.master);
    if (!with_state) continue;
    read(kExpAvg + name, part.slab, dtype, part.exp_avg);
    read(kExpAvgSq + name, part.slab, dtype, part.exp_avg_sq);
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
