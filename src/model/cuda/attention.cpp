// Attention on CUDA tensors: cuDNN's or flash attention's kernels for bf16, our own exact ones otherwise. The
// log-sum- exp lies in the stash as [sequences, heads, seq_len] for the former, [tokens, heads] for the
// latter; forward and backward of a plan always choose alike.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include "kernels/cuda/attention_small.h"
#include "src/model/cuda/current.h"
#include "src/model/cuda/ops.h"

namespace lacuna::on_cuda {

namespace {

enum class Method : std::uint8_t { Cudnn, Flash, Small };

Method method_of(const AttentionPlan& plan, at::ScalarType type) {
  if (type != at::kBFloat16 || plan.head_dim % 8 != 0 || plan.head_dim > 256) return Method::Small;
  const bool windowed = plan.window > 0 && plan.window < plan.seq_len;
  const bool fits = plan.head_dim <= 128 && plan.seq_len >= 128 && !windowed;
  const bool hopper = at::cuda::getCurrentDeviceProperties()->major >= 9;
  return fits && hopper && !at::globalContext().deterministicAlgorithms() ? Method::Cudnn : Method::Flash;
}

cuda::AttentionSize size_of(const AttentionPlan& plan, const at::Tensor& query) {
  return {dtype_of(query), plan.sequences, plan.seq_len, plan.kv_heads,
          plan.group,      plan.head_dim,  plan.window};
}

// [tokens, heads·d] as [sequences, seq_len, heads, d].
at::Tensor by_head(const AttentionPlan& plan, const at::Tensor& x, std::int64_t heads) {
  return x.view({plan.sequences, plan.seq_len, heads, plan.head_dim});
}
at::Tensor queries(const AttentionPlan& plan, const at::Tensor& x) {
  return by_head(plan, x, plan.kv_heads * plan.group);
}
at::Tensor keys(const AttentionPlan& plan, const at::Tensor& x) {
  return by_head(plan, x, plan.kv_heads);
}
at::Tensor by_row(const AttentionPlan& plan, const at::Tensor& lse) {
  return lse.view({plan.sequences, plan.kv_heads * plan.group, plan.seq_len});
}

// What the library's functions return for their random numbers, which are never drawn.
struct NoDropout {
  at::Tensor word, state;
};
const NoDropout& no_dropout(const at::Tensor& beside) {
  thread_local const NoDropout values{at::zeros({}, beside.options().dtype(at::kLong)),
                                      at::zeros({2}, beside.options().dtype(at::kUInt64))};
  return values;
}

// [sequences, seq_len, heads, d] as rows like those of `like`; without a copy where it lies so.
at::Tensor flat(const at::Tensor& grad, const at::Tensor& like) {
  return grad.contiguous().view({like.size(0), like.size(1)});
}

std::optional<std::int64_t> left_of(const AttentionPlan& plan) {
  return plan.window > 0 && plan.window < plan.seq_len ? std::optional<std::int64_t>(plan.window - 1)
                                                       : std::nullopt;
}
std::optional<std::int64_t> right_of(const AttentionPlan& plan) {
  return left_of(plan) ? std::optional<std::int64_t>(0) : std::nullopt;
}

}  // namespace

void attention_forward(const AttentionPlan& plan, const at::Tensor& query, const at::Tensor& key,
                       const at::Tensor& value, const at::Tensor& context, const at::Tensor& lse) {
  const at::Tensor q = queries(plan, query), k = keys(plan, key), v = keys(plan, value);
  switch (method_of(plan, query.scalar_type())) {
    case Method::Cudnn: {
      const auto result = at::_scaled_dot_product_cudnn_attention(
          q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), std::nullopt, true, 0.0, true);
      queries(plan, context).copy_(std::get<0>(result).transpose(1, 2));
      by_row(plan, lse).copy_(std::get<1>(result).view({plan.sequences, q.size(2), plan.seq_len}));
      return;
    }
    case Method::Flash: {
      const auto result =
          at::_flash_attention_forward(q, k, v, std::nullopt, std::nullopt, plan.seq_len, plan.seq_len, 0.0,
                                       true, false, std::nullopt, left_of(plan), right_of(plan));
      queries(plan, context).copy_(std::get<0>(result));
      by_row(plan, lse).copy_(std::get<1>(result));
      return;
    }
    case Method::Small:
      cuda::attention_small(size_of(plan, query), query.const_data_ptr(), key.const_data_ptr(),
                            value.const_data_ptr(), context.data_ptr(), lse.data_ptr(), stream());
      return;
  }
}

QueryKeyGrads attention_backward(const AttentionPlan& plan, const at::Tensor& query, const at::Tensor& key,
                                 const at::Tensor& value, const at::Tensor& context, const at::Tensor& lse,
                                 const at::Tensor& context_grad) {
  const at::Tensor q = queries(plan, query), k = keys(plan, key), v = keys(plan, value);
  const at::Tensor out = queries(plan, context), out_grad = queries(plan, context_grad);
  const NoDropout& unused = no_dropout(query);
  switch (method_of(plan, query.scalar_type())) {
    case Method::Cudnn: {
      const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
          out_grad.transpose(1, 2), q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
          out.transpose(1, 2), by_row(plan, lse).unsqueeze(3), unused.word, unused.word, {}, {}, {},
          plan.seq_len, plan.seq_len, 0.0, true);
      v.copy_(dv.transpose(1, 2));
      return {flat(dq.transpose(1, 2), query), flat(dk.transpose(1, 2), key)};
    }
    case Method::Flash: {
      const auto [dq, dk, dv] = at::_flash_attention_backward(
          out_grad, q, k, v, out, by_row(plan, lse), {}, {}, plan.seq_len, plan.seq_len, 0.0, true,
          unused.state, unused.word, std::nullopt, left_of(plan), right_of(plan));
      v.copy_(dv);
      return {flat(dq, query), flat(dk, key)};
    }
    case Method::Small:
      break;
  }
  const cuda::AttentionSize size = size_of(plan, query);
  const at::Tensor scratch = workspace(cuda::attention_small_backward_workspace(size), query);
  cuda::attention_small_backward(size, query.data_ptr(), key.data_ptr(), value.data_ptr(),
                                 context.const_data_ptr(), lse.const_data_ptr(),
                                 context_grad.const_data_ptr(), scratch.data_ptr(), stream());
  return {};
}

}  // namespace lacuna::on_cuda
