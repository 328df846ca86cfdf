// Causal attention with grouped key/value heads, forward and backward, tile by tile: one sequence, one
// key/value head with its query heads, 64 queries at a time, so that the workspace grows with the sequence
// length only linearly. Softmax statistics and all products are in the accumulation type. The backward pass
// rebuilds the probabilities from the log-sum-exp (arXiv 2205.14135, algorithm 4).
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "src/model/rope.h"

namespace lacuna {

struct AttentionShape {
  std::int64_t sequences = 1, seq_len = 1;
  std::int64_t kv_heads = 1;  // on this rank
  std::int64_t group = 1;     // query heads of each key/value head
  std::int64_t head_dim = 2;
  std::int64_t window = 0;  // a query sees itself and window-1 tokens before it; 0: all
  std::int64_t heads() const { return kv_heads * group; }
};

class Attention {
 public:
  Attention(const AttentionShape& shape, at::ScalarType compute, at::Device device = at::kCPU);

  // query, context [tokens, heads·d], key and value [tokens, kv_heads·d] in the compute type; lse
  // [tokens, heads] in the accumulation type. Writes context and lse.
  void forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
               const at::Tensor& context, const at::Tensor& lse);
  // Replaces query, key and value by their gradients, those of query and key before `rope` had rotated them.
  void backward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                const at::Tensor& context, const at::Tensor& lse, const at::Tensor& context_grad,
                const RopeTable& rope);

 private:
  template <class T>
  struct Run;

  AttentionShape shape_;
  // One key/value head of one sequence, accumulation type: [seq·group, d], [seq, d], tiles [64·group, seq].
  at::Tensor query_, output_grad_, key_, value_, key_grad_, value_grad_;
  at::Tensor weights_, weights_grad_, rows_;
};

}  // namespace lacuna
