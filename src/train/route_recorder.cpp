#include "src/train/route_recorder.h"

#include <ATen/ATen.h>

namespace lacuna {

RouteRecorder::RouteRecorder(const ModelConfig& config, const ProbeShape& shape)
    : shape_(shape),
      layers_(static_cast<std::size_t>(config.layers)),
      experts_(static_cast<std::size_t>(config.routed.experts)),
      on_(shape.sequences * layers_ * shape.length * experts_, 0) {}

void RouteRecorder::see(int layer, const at::Tensor& gates) {
  const at::Tensor host = gates.to(at::kCPU, at::kDouble).contiguous();
  const std::size_t first = micros_[layer]++ * shape_.per_micro;
  for (std::size_t k = 0; k < shape_.per_micro && first + k < shape_.sequences; ++k) {
    const double* from = host.const_data_ptr<double>() + k * shape_.width * experts_;
    double* to =
        on_.data() + ((first + k) * layers_ + static_cast<std::size_t>(layer)) * shape_.length * experts_;
    for (std::size_t i = 0; i < shape_.length * experts_; ++i) to[i] = from[i] != 0 ? 1 : 0;
  }
}

std::vector<std::vector<std::uint8_t>> RouteRecorder::merge(Communicator& stages) const {
  std::vector<double> all = on_;
  stages.all_reduce_sum(all.data(), all.size(), DType::F64);
  const std::size_t each = layers_ * shape_.length * experts_;
  std::vector<std::vector<std::uint8_t>> out(shape_.sequences);
  for (std::size_t i = 0; i < all.size(); ++i) out[i / each].push_back(all[i] != 0 ? 1 : 0);
  return out;
}

}  // namespace lacuna
