// Which experts a routed model switched on for the sequences of a probe, put together from the pipeline's
// ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "parallel/run/communicator.h"
#include "src/arch/model_config.h"
#include "src/train/probe_batch.h"

namespace lacuna {

class RouteRecorder {
 public:
  RouteRecorder(const ModelConfig& config, const ProbeShape& shape);
  // A layer's gates [per_micro·width, E] of its next micro-batch; they come in ascending order.
  void see(int layer, const at::Tensor& gates);
  // As Probe::routes. Collective over the ranks of the pipeline, each of which has seen its own layers.
  std::vector<std::vector<std::uint8_t>> merge(Communicator& stages) const;

 private:
  ProbeShape shape_;
  std::size_t layers_, experts_;
  std::map<int, std::size_t> micros_;  // seen, by layer
  std::vector<double> on_;             // [sequence][layer][token][expert]
};

}  // namespace lacuna
