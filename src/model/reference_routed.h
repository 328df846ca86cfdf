// The routed FFN of the reference model (src/model/reference_model.h): expert by expert, each a dense FFN of
// its neurons that is added or replaced by its mean.
#pragma once

#include "src/model/reference_model.h"

namespace lacuna {

// x and product [sequences, seq_len, …] -> [sequences, seq_len, hidden]. `sink` sees the product times the
// gates.
at::Tensor reference_routed_ffn(const ModelConfig& config, const WeightOf& weight, int layer,
                                const at::Tensor& x, const at::Tensor& product, const ProductSink& sink);

}  // namespace lacuna
