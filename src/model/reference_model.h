// The model once more, as plain ATen operations that autograd can follow: independent of the hand-written
// functions, written for clarity. Oracle of the tests, and a start for recipes that are not fast yet.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "parallel/plan/topology.h"
#include "src/arch/model_config.h"

namespace lacuna {

// A weight by its name in the parameter table.
using WeightOf = std::function<at::Tensor(const std::string& name)>;
// Sees the FFN product of each layer, [sequences, seq_len, ffn], as part of the graph.
using ProductSink = std::function<void(int layer, const at::Tensor& product)>;

// [sequences, seq_len, hidden] rows of the embedding.
at::Tensor reference_embedding(const WeightOf& weight, std::span<const std::int32_t> tokens,
                               std::int64_t sequences);

// x [sequences, seq_len, hidden] through the blocks [begin, end).
at::Tensor reference_blocks(const ModelConfig& config, const WeightOf& weight, LayerRange layers,
                            at::Tensor x, const ProductSink& sink = {});

// [sequences·seq_len, vocabulary].
at::Tensor reference_logits(const ModelConfig& config, const WeightOf& weight, const at::Tensor& x);

// Sum of the token losses in nats over targets that are not -1; a scalar.
at::Tensor reference_loss(const at::Tensor& logits, std::span<const std::int32_t> targets);

}  // namespace lacuna
