// What all layers of a rank share: configuration, shape of a micro-batch, tensor-parallel moves, rotary
// table, and the workspace that holds what lives only inside one call.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "src/arch/stash_layout.h"
#include "src/model/attention.h"
#include "src/model/rope.h"
#include "src/model/token_shards.h"

namespace lacuna {

// Compute type unless said; t = tokens of a micro-batch, m = t / tp. On the model's device.
struct Workspace {
  at::Tensor all, all_grad;   // [t, hidden]: gathered or partial activations, gathered gradients
  at::Tensor mine, residual;  // [m, hidden]
  at::Tensor neurons, heads;  // [t, ffn/tp], [t, query width/tp]
  at::Tensor neuron_sums;     // [t, ffn/tp] accumulation type; CPU only
};

struct ModelContext {
  ModelContext(const ModelConfig& config, const MicroShape& shape, Communicator* tp, at::Device device);

  ModelConfig config;
  MicroShape shape;
  at::Device device;
  TokenShards shards;
  RopeTable rope;
  Attention attention;
  Workspace work;
};

}  // namespace lacuna
