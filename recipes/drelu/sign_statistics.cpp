#include "recipes/drelu/sign_statistics.h"

#include <ATen/ATen.h>

#include "src/base/error.h"

namespace lacuna {

namespace {

void add_to(std::vector<double>& sums, const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU).contiguous();
  sums.resize(static_cast<std::size_t>(flat.numel()), 0.0);
  const double* from = flat.const_data_ptr<double>();
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += from[i];
}

}  // namespace

void SignStatistics::add(int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product) {
  const at::Tensor energy = product.to(at::kDouble).square() * gate.gt(0);
  Halves& halves = layers_[layer];
  add_to(halves.positive, (energy * up.gt(0)).sum(0));
  add_to(halves.negative, (energy * up.lt(0)).sum(0));
}

void SignStatistics::merge(Communicator& dp) {
  for (auto& [layer, halves] : layers_) {
    dp.all_reduce_sum(halves.positive.data(), halves.positive.size(), DType::F64);
    dp.all_reduce_sum(halves.negative.data(), halves.negative.size(), DType::F64);
  }
}

std::vector<bool> SignStatistics::flips(int layer) const {
  const auto found = layers_.find(layer);
  LACUNA_ASSERT(found != layers_.end());
  std::vector<bool> flips(found->second.positive.size());
  for (std::size_t i = 0; i < flips.size(); ++i)
    flips[i] = found->second.negative[i] > found->second.positive[i];
  return flips;
}

std::vector<int> SignStatistics::layers() const {
  std::vector<int> seen;
  for (const auto& [layer, halves] : layers_) seen.push_back(layer);
  return seen;
}

}  // namespace lacuna
