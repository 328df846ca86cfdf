// One layer's whole FFN in single precision, as the carving of that layer needs it: read once through the
// parent's source of slabs, whatever the layout of the run.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <string>

#include "src/arch/model_config.h"
#include "src/train/snapshot.h"

namespace lacuna {

struct FfnWeights {
  at::Tensor gate, up;  // [neurons, hidden], F32
  at::Tensor down;      // [hidden, neurons], F32
  Activation activation = Activation::Silu;

  std::int64_t neurons() const { return gate.size(0); }
  // Products h = act(gate·x)·(up·x) of inputs [tokens, hidden]: [tokens, neurons].
  at::Tensor products(const at::Tensor& inputs) const;
  at::Tensor down_norms() const;  // ‖column of down‖ [neurons]
};

// From where they lie `ready` (may be null), which must be in the precision of the source; the rest from
// `weights`.
FfnWeights read_ffn(const SlabSource& weights, const ModelConfig& config, int layer,
                    at::Device device = at::kCPU, const TensorSource& ready = nullptr);

// "model.layers.3.mlp."
std::string ffn_prefix(int layer);

}  // namespace lacuna
