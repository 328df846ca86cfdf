#include "recipes/common/carved_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "recipes/common/ffn_weights.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

// ---- bytes of a layer: numbers and tensors one after the other, F64 or I32

class Writer {
 public:
  template <class T>
  void put(T value) {
    const auto* from = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  }
  void put(const at::Tensor& tensor) {
    put<std::int64_t>(tensor.defined() ? tensor.dim() : -1);
    if (!tensor.defined()) return;
    const at::Tensor flat = tensor.to(at::kDouble).cpu().contiguous();
    for (std::int64_t d = 0; d < flat.dim(); ++d) put<std::int64_t>(flat.size(d));
    const auto* from = static_cast<const std::byte*>(flat.const_data_ptr());
    bytes.insert(bytes.end(), from, from + flat.nbytes());
  }
  std::vector<std::byte> bytes;
};

class Reader {
 public:
  explicit Reader(const std::vector<std::byte>& bytes) : bytes_(bytes) {}
  template <class T>
  T get() {
    T value;
    take(&value, sizeof value);
    return value;
  }
  at::Tensor tensor() {
    const auto dims = get<std::int64_t>();
    if (dims < 0) return {};
    std::vector<std::int64_t> shape;
    for (std::int64_t d = 0; d < dims; ++d) shape.push_back(get<std::int64_t>());
    at::Tensor out = at::empty(shape, at::kDouble);
    take(out.data_ptr(), out.nbytes());
    return out;
  }
  void take(void* to, std::size_t count) {
    LACUNA_ASSERT(at_ + count <= bytes_.size());
    std::memcpy(to, bytes_.data() + at_, count);
    at_ += count;
  }

 private:
  const std::vector<std::byte>& bytes_;
  std::size_t at_ = 0;
};

// ---- slabs

const std::string kPrefix = "model.layers.", kGate = "gate_proj.weight", kUp = "up_proj.weight",
                  kDown = "down_proj.weight";

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

// Layer and rest of "model.layers.3.mlp.rest"; layer -1 for other names.
std::pair<int, std::string> ffn_part(const std::string& name) {
  if (!starts_with(name, kPrefix)) return {-1, {}};
  const int layer = std::stoi(name.substr(kPrefix.size()));
  const std::string prefix = ffn_prefix(layer);
  if (!starts_with(name, prefix)) return {-1, {}};
  return {layer, name.substr(prefix.size())};
}

// A rectangle of a tensor of one or two dimensions in the wanted type.
void copy_part(const at::Tensor& from, const Slab& slab, DType dtype, void* dst) {
  at::Tensor part = from;
  for (std::size_t d = 0; d < slab.extent.size(); ++d)
    part = part.narrow(static_cast<std::int64_t>(d), slab.offset[d], slab.extent[d]);
  part = part.to(dtype == DType::F64 ? at::kDouble : at::kFloat).contiguous();
  std::memcpy(dst, part.const_data_ptr(), part.nbytes());
}

// The neurons of the child's places that `slab` covers.
at::Tensor wanted_neurons(const std::vector<std::int32_t>& order, const Slab& slab, std::size_t dim) {
  const auto first = order.begin() + slab.offset[dim];
  return at::tensor(std::vector<std::int32_t>(first, first + slab.extent[dim]), at::kInt);
}

Slab with_all_neurons(Slab slab, const std::vector<std::int32_t>& order, std::size_t dim) {
  slab.offset[dim] = 0;
  slab.extent[dim] = static_cast<std::int64_t>(order.size());
  return slab;
}

// Rows (dim 0) or columns (dim 1) of a parent's matrix in the child's order.
void read_reordered(const SlabSource& parent, const std::string& name, const Slab& slab, DType dtype,
                    const std::vector<std::int32_t>& order, std::size_t dim, void* dst) {
  const Slab whole = with_all_neurons(slab, order, dim);
  at::Tensor values = at::empty(whole.extent, dtype == DType::F64 ? at::kDouble : at::kFloat);
  parent(name, whole, dtype, values.data_ptr());
  const at::Tensor out =
      values.index_select(static_cast<std::int64_t>(dim), wanted_neurons(order, slab, dim)).contiguous();
  std::memcpy(dst, out.const_data_ptr(), out.nbytes());
}

at::Tensor own_tensor(const CarvedLayer& layer, const std::string& part) {
  if (part == "router.weight") return layer.router.weight;
  if (part == "router.gate") return layer.router.gate;
  if (part == "router.up") return layer.router.up;
  if (part == "router.bias") return layer.router.bias;
  if (part == "experts.mean") return layer.stand_ins;
  return {};
}

}  // namespace

std::vector<std::byte> CarvedLayer::to_bytes() const {
  Writer out;
  out.put<std::int64_t>(static_cast<std::int64_t>(order.size()));
  for (const std::int32_t neuron : order) out.put(neuron);
  out.put(static_cast<std::int32_t>(router.kind));
  out.put(router.rank);
  for (const at::Tensor* tensor : {&router.weight, &router.gate, &router.up, &router.bias, &stand_ins})
    out.put(*tensor);
  out.put(quality);
  return out.bytes;
}

CarvedLayer CarvedLayer::from_bytes(const std::vector<std::byte>& bytes) {
  Reader in(bytes);
  CarvedLayer layer;
  layer.order.resize(static_cast<std::size_t>(in.get<std::int64_t>()));
  for (std::int32_t& neuron : layer.order) neuron = in.get<std::int32_t>();
  layer.router.kind = static_cast<RouterKind>(in.get<std::int32_t>());
  layer.router.rank = in.get<std::int64_t>();
  for (at::Tensor* tensor :
       {&layer.router.weight, &layer.router.gate, &layer.router.up, &layer.router.bias, &layer.stand_ins})
    *tensor = in.tensor();
  layer.quality = in.get<RoutingQuality>();
  return layer;
}

SlabSource carved_weights(SlabSource parent, std::shared_ptr<const CarvedModel> model) {
  return [parent, model](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const auto [index, part] = ffn_part(name);
    const bool dense = part == kGate || part == kUp || part == kDown;
    if (index < 0) return parent(name, slab, dtype, dst);
    const auto found = model->layers.find(index);
    if (dense) {
      if (found == model->layers.end()) return parent(name, slab, dtype, dst);
      return read_reordered(parent, name, slab, dtype, found->second.order, part == kDown ? 1 : 0, dst);
    }
    const at::Tensor own = found == model->layers.end() ? at::Tensor{} : own_tensor(found->second, part);
    if (own.defined()) return copy_part(own, slab, dtype, dst);
    std::memset(dst, 0, static_cast<std::size_t>(slab.elements()) * size_of(dtype));
  };
}

TensorSource carved_tensors(TensorSource parent, std::shared_ptr<const CarvedModel> model) {
  return [parent, model](const std::string& name, const Slab& slab) -> at::Tensor {
    const auto [index, part] = ffn_part(name);
    if (index < 0) return parent(name, slab);
    if (part != kGate && part != kUp && part != kDown) return {};
    const auto found = model->layers.find(index);
    if (found == model->layers.end()) return parent(name, slab);
    const std::vector<std::int32_t>& order = found->second.order;
    const std::size_t dim = part == kDown ? 1 : 0;
    const at::Tensor values = parent(name, with_all_neurons(slab, order, dim));
    if (!values.defined()) return {};
    return values.index_select(static_cast<std::int64_t>(dim),
                               wanted_neurons(order, slab, dim).to(values.device()));
  };
}

}  // namespace lacuna
