#include "src/model/parameter_store.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "src/base/error.h"
#include "src/base/math.h"
#include "src/base/rng.h"
#include "src/base/thread_pool.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

constexpr std::int64_t kAlignment = 64;

bool belongs(const Parameter& parameter, const StagePlace& place, const ModelConfig& config) {
  if (parameter.layer < 0) return place.has_embedding;
  if (parameter.layer >= config.layers) return place.has_head;
  return parameter.layer >= place.first_layer && parameter.layer < place.end_layer;
}

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (std::int64_t extent : shape) n *= extent;
  return n;
}

// One zero-filled slab in which every tensor starts at a multiple of 64 bytes.
class SlabBuilder {
 public:
  explicit SlabBuilder(at::ScalarType type)
      : type_(type), size_(static_cast<std::int64_t>(elementSize(type))) {}
  std::int64_t place(std::int64_t elements) {
    const std::int64_t offset = used_;
    used_ += round_up(elements * size_, kAlignment) / size_;
    return offset;
  }
  at::Tensor allocate(at::Device device) const {
    return at::zeros({used_}, at::TensorOptions().dtype(type_).device(device));
  }

 private:
  at::ScalarType type_;
  std::int64_t size_;
  std::int64_t used_ = 0;
};

at::Tensor view_at(const at::Tensor& slab, std::int64_t offset, const std::vector<std::int64_t>& shape) {
  return slab.narrow(0, offset, elements_of(shape)).view(shape);
}

// Whether its gradient is a product over tokens, or sums of such (src/model/linear.h).
bool is_product(const LocalParameter& p) {
  switch (p.spec.role) {
    case Role::Query:
    case Role::Key:
    case Role::Value:
    case Role::Output:
    case Role::Gate:
    case Role::Up:
    case Role::Down:
    case Role::Head:
      return true;
    default:
      return p.tied_copy;
  }
}

// Writes the part of the global tensor that `local.slab` covers; padding stays zero.
template <class T>
void fill_initial(const Parameter& spec, const LocalTensor& local, std::uint64_t key, T* data,
                  ThreadPool& threads) {
  const bool matrix = spec.shape.size() == 2;
  const std::int64_t cols = matrix ? spec.shape[1] : 1, local_cols = matrix ? local.shape[1] : 1;
  const std::int64_t first_col = matrix ? local.slab.offset[1] : 0;
  const auto fill_rows = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t col = 0; col < local_cols; ++col) {
        const std::int64_t index = (local.slab.offset[0] + row) * cols + first_col + col;
        const double value = spec.init_std > 0
                                 ? spec.init_std * rng_normal(key, static_cast<std::uint64_t>(index))
                                 : spec.init_value;
        data[row * local_cols + col] = static_cast<T>(static_cast<Accumulate<T>>(value));
      }
  };
  constexpr double kCostOfOne = 50;  // operations
  threads.split(local.slab.extent[0], 1, kCostOfOne * static_cast<double>(local_cols), fill_rows);
}

}  // namespace

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return at::kDouble;
    case DType::F32:
      return at::kFloat;
    case DType::BF16:
      return at::kBFloat16;
    default:
      fail(ErrorKind::Internal, "{} is not a type to compute in (F64, F32, BF16 are)", name_of(dtype));
  }
}

ParameterStore::ParameterStore(const ModelConfig& config, const std::vector<StagePlace>& stages, int tp_rank,
                               int tp, DType compute, at::Device device, bool frozen)
    : compute_(compute) {
  const at::ScalarType weight_type = scalar_type(compute), grad_type = scalar_type(accumulation());
  const std::vector<Parameter> table = lacuna::parameters(config);
  for (const StagePlace& place : stages) {
    SlabBuilder weights(weight_type), grads(grad_type);
    std::vector<std::pair<std::int64_t, std::int64_t>> offsets;  // weight, gradient
    const std::size_t first = parameters_.size();
    const auto add = [&](const Parameter& spec, bool tied_copy) {
      const LocalTensor local = local_tensor(spec, config, tp_rank, tp);
      const std::int64_t n = elements_of(local.shape);
      parameters_.push_back({spec, local, place.stage, tied_copy, {}, {}});
      offsets.emplace_back(weights.place(n), grads.place(n));
    };
    for (const Parameter& spec : table)
      if (belongs(spec, place, config)) add(spec, false);
    if (config.tied_embeddings && place.has_head) add(table.front(), true);
    slabs_.push_back(weights.allocate(device));
    slabs_.push_back(frozen ? at::empty({0}) : grads.allocate(device));
    for (std::size_t i = first; i < parameters_.size(); ++i) {
      LocalParameter& parameter = parameters_[i];
      parameter.weight = view_at(slabs_[slabs_.size() - 2], offsets[i - first].first, parameter.local.shape);
      if (!frozen) parameter.grad = view_at(slabs_.back(), offsets[i - first].second, parameter.local.shape);
    }
  }
  for (LocalParameter& copy : parameters_)
    for (LocalParameter& original : parameters_)
      if (copy.tied_copy && !original.tied_copy && original.spec.name == copy.spec.name)
        copy.weight = original.weight;
  if (device.is_cuda() && !frozen) zero_grads();  // the first step finds them as every other does
}

LocalParameter& ParameterStore::at(const std::string& name, bool tied_copy) {
  for (LocalParameter& parameter : parameters_)
    if (parameter.tied_copy == tied_copy && parameter.spec.name == name) return parameter;
  fail(ErrorKind::Internal, "this rank holds no parameter '{}'{}", name, tied_copy ? " (tied copy)" : "");
}

void ParameterStore::initialise(std::uint64_t seed) {
  // A rank on a CPU has the threads it was given; beside a GPU all cores idle.
  ThreadPool threads(!parameters_.empty() && parameters_.front().weight.is_cuda() ? 0
                                                                                  : at::get_num_threads());
  for (LocalParameter& parameter : parameters_) {
    const std::uint64_t key = rng_key(seed, parameter.spec.name);
    const at::Tensor host = at::zeros(parameter.local.shape, parameter.weight.scalar_type());
    with_element_type(host.scalar_type(), [&]<class T>(T) {
      fill_initial(parameter.spec, parameter.local, key, host.data_ptr<T>(), threads);
    });
    parameter.weight.copy_(host);
  }
}

void ParameterStore::zero_grads() {
  if (!parameters_.empty() && parameters_.front().grad.is_cuda()) {
    for (LocalParameter& parameter : parameters_) {
      parameter.stale_grad = is_product(parameter);
      if (!parameter.stale_grad) parameter.grad.zero_();
    }
    return;
  }
  for (std::size_t i = 1; i < slabs_.size(); i += 2) slabs_[i].zero_();
}

}  // namespace lacuna
