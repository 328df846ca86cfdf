#include "src/model/ffn_routed.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"
#include "src/model/block.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

at::Tensor random_scores(const RoutedFfn& routed, std::int64_t layer, std::int64_t positions) {
  at::Tensor out = at::empty({positions, routed.experts}, at::kDouble);
  const std::uint64_t key = random_router_key(routed.seed, layer);
  double* at = out.data_ptr<double>();
  for (std::int64_t position = 0; position < positions; ++position)
    for (std::int64_t expert = 0; expert < routed.experts; ++expert)
      *at++ = random_score(key, position, expert);
  return out;
}

// a / b, and 0 where b is 0.
at::Tensor ratio(const at::Tensor& a, const at::Tensor& b) {
  return at::where(b == 0, at::zeros_like(a), a / b);
}

}  // namespace

ExpertRouting::ExpertRouting(ModelContext& context, ParameterStore& store, int layer)
    : context_(context), routed_(context.config.routed) {
  const RoutedLayer neurons = routed_layer(routed_, context.config.ffn, layer);
  active_ = neurons.active;
  const std::int64_t count = context.config.ffn / context.shape.tp, first = context.shards.rank() * count;
  const auto local = [&](std::int64_t neuron) { return std::clamp<std::int64_t>(neuron - first, 0, count); };
  shared_ = local(neurons.shared);
  for (std::int64_t e = 0; e < neurons.experts(); ++e) {
    const std::int64_t begin = local(neurons.begin[static_cast<std::size_t>(e)]),
                       end = local(neurons.begin[static_cast<std::size_t>(e) + 1]);
    if (begin < end) parts_.push_back({e, begin, end - begin});
  }
  const auto find = [&](const char* name) {
    return &store.at("model.layers." + std::to_string(layer) + ".mlp." + name);
  };
  if (routed_.has_weight()) weight_ = find("router.weight");
  if (routed_.has_rows()) {
    gate_ = find("router.gate");
    up_ = find("router.up");
  }
  if (routed_.has_bias()) bias_ = find("router.bias");
  if (routed_.has_scores()) scale_ = find("router.scale");
  mean_ = find("experts.mean");
  down_ = find("down_proj.weight");
  if (routed_.router == RouterKind::Random)
    random_ = random_scores(routed_, layer, context.shape.seq_len).to(mean_->weight.device());
}

at::Tensor ExpertRouting::own(const at::Tensor& all) const {
  const std::int64_t count = context_.shape.local_tokens();
  return all.narrow(0, context_.shards.rank() * count, count);
}

at::Tensor ExpertRouting::expert_rows(const at::Tensor& rows) const {
  return rows.view({rows.size(0), routed_.experts, routed_.rank});
}

// What the experts add without their means, by norm, of this rank's tokens.
at::Tensor ExpertRouting::oracle_scores(const BlockStash& s) const {
  const at::ScalarType type = s.experts.scalar_type();
  at::Tensor out = at::zeros({context_.shape.local_tokens(), routed_.experts}, s.experts.options());
  at::Tensor all = context_.work.all;
  for (std::int64_t e = 0; e < routed_.experts; ++e) {
    all.zero_();
    for (const Part& part : parts_)
      if (part.expert == e)
        at::mm_out(all, s.product.narrow(1, part.begin, part.count),
                   down_->weight.narrow(1, part.begin, part.count).t());
    const at::Tensor mine = context_.shards.scatter_sum(all, context_.work.mine);
    out.select(1, e).copy_((mine.to(type) - mean_->weight.select(0, e).to(type)).norm(2, 1));
  }
  return out;
}

// act(A·x)·(B·x) of the neurons that represent the experts.
at::Tensor ExpertRouting::row_values(const BlockStash& s) const {
  const Activation activation = context_.config.activation;
  const at::Tensor a = activation == Activation::Silu ? at::silu(s.router_gate) : at::relu(s.router_gate);
  return a * (activation == Activation::Drelu ? at::relu(s.router_up) : s.router_up);
}

// The scores [tokens/tp, E] of this rank's tokens; the stash keeps them and what they were made of.
at::Tensor ExpertRouting::scores(const BlockStash& s) const {
  if (routed_.router == RouterKind::Oracle) return oracle_scores(s);
  const at::ScalarType type = s.score.scalar_type();
  const at::Tensor x = s.norm2.to(type);
  at::Tensor score = s.score, a = s.router_gate, b = s.router_up;
  if (weight_)
    at::mm_out(score, x, weight_->weight.to(type).t());
  else
    score.zero_();
  if (!gate_) return score;
  at::mm_out(a, x, gate_->weight.to(type).t());
  at::mm_out(b, x, up_->weight.to(type).t());
  if (routed_.router == RouterKind::LowRank) {
    score.add_(expert_rows(a).norm(2, 2) * expert_rows(b).norm(2, 2));
  } else {
    score.add_(expert_rows(row_values(s)).abs().sum(2));
  }
  return score;
}

// 1 for experts that are on, 0 for others, from scores [tokens, E].
at::Tensor ExpertRouting::choose(const at::Tensor& scores) const {
  const at::Tensor keys = bias_ ? scores + bias_->weight.to(scores.scalar_type()) : scores;
  if (routed_.threshold) return (keys > 0).to(scores.scalar_type());
  const at::Tensor order = at::argsort(keys, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  return at::zeros_like(scores).scatter_(1, order.narrow(1, 0, active_), 1);
}

at::Tensor ExpertRouting::forward(const BlockStash& s, const at::Tensor& gated) const {
  at::Tensor gates = s.experts;
  if (routed_.router == RouterKind::None) {
    gates.zero_();
  } else if (routed_.router == RouterKind::Random) {
    gates.copy_(choose(random_).to(gates.scalar_type()).repeat({context_.shape.sequences, 1}));
  } else {
    const at::Tensor all = context_.shards.gather(scores(s), at::empty_like(gates));
    gates.copy_(choose(all));
    if (scale_) gates.mul_(at::softmax(all, 1).mul_(scale_->weight.to(gates.scalar_type())).add_(1));
  }
  gated.copy_(s.product);
  for (const Part& part : parts_)
    gated.narrow(1, part.begin, part.count).mul_(gates.narrow(1, part.expert, 1));
  const at::Tensor zeros = (gated.numel() - at::count_nonzero(gated)).to(at::kDouble);
  return at::stack({zeros, at::linalg_vector_norm(gated, 1, {}, false, at::kDouble)});
}

void ExpertRouting::add_means(const BlockStash& s, const at::Tensor& output) const {
  const at::Tensor off = (own(s.experts) == 0).to(s.experts.scalar_type());
  output.add_(at::mm(off, mean_->weight.to(off.scalar_type())));
}

void ExpertRouting::product_grad(const BlockStash& s, const at::Tensor& grad, const Penalty& l1) const {
  const at::ScalarType type = s.experts.scalar_type();
  if (l1.weight != 0) grad.narrow(1, 0, shared_).add_(penalty_grad(s.product.narrow(1, 0, shared_), l1));
  at::Tensor gate_grad = at::zeros_like(s.experts);
  for (const Part& part : parts_) {
    const at::Tensor gate = s.experts.narrow(1, part.expert, 1);
    const at::Tensor product = s.product.narrow(1, part.begin, part.count);
    const at::Tensor part_grad = grad.narrow(1, part.begin, part.count);
    if (l1.weight != 0) part_grad.add_(penalty_grad(product * gate, l1));
    if (scale_) gate_grad.select(1, part.expert).copy_((part_grad.to(type) * product.to(type)).sum(1));
    part_grad.mul_(gate);
    product.mul_(gate);
  }
  if (!scale_) return;
  const at::Tensor mine = at::empty_like(s.score);
  score_grad(s, context_.shards.scatter_sum(gate_grad, mine));
}

// gate_grad [tokens/tp, E]: the stash's scores become their gradients; the scale's gradient is added.
void ExpertRouting::score_grad(const BlockStash& s, const at::Tensor& gate_grad) const {
  const at::Tensor shares = at::softmax(s.score, 1);
  const at::Tensor on_grad = gate_grad * (own(s.experts) != 0) * shares;
  if (scale_->grad.defined()) scale_->grad.add_(on_grad.sum(0));
  const at::Tensor share_grad = on_grad * scale_->weight.to(on_grad.scalar_type());
  s.score.copy_(share_grad - shares * share_grad.sum(1, true));
  if (gate_) row_grad(s, s.score);
}

// grad [tokens/tp, E]: the stash's A·x and B·x become their gradients.
void ExpertRouting::row_grad(const BlockStash& s, const at::Tensor& grad) const {
  if (routed_.router == RouterKind::LowRank) {
    const at::Tensor a = expert_rows(s.router_gate), b = expert_rows(s.router_up);
    const at::Tensor a_norm = a.norm(2, 2), b_norm = b.norm(2, 2);
    a.mul_((grad * ratio(b_norm, a_norm)).unsqueeze(2));
    b.mul_((grad * ratio(a_norm, b_norm)).unsqueeze(2));
    return;
  }
  const Activation activation = context_.config.activation;
  const at::Tensor a = s.router_gate, b = s.router_up;
  const at::Tensor value_grad = expert_rows(row_values(s)).sign().mul_(grad.unsqueeze(2)).view_as(a);
  at::Tensor b_grad = value_grad * (activation == Activation::Silu ? at::silu(a) : at::relu(a));
  if (activation == Activation::Drelu) b_grad.mul_(b > 0);
  const at::Tensor a_grad = value_grad * (activation == Activation::Drelu ? at::relu(b) : b);
  a.copy_(activation == Activation::Silu ? at::silu_backward(a_grad, a) : a_grad * (a > 0));
  b.copy_(b_grad);
}

void ExpertRouting::add_input_grad(const BlockStash& s, const at::Tensor& grad) const {
  if (!scale_) return;
  const at::ScalarType type = s.score.scalar_type();
  if (weight_) grad.add_(at::mm(s.score, weight_->weight.to(type)));
  if (!gate_) return;
  grad.add_(at::mm(s.router_gate, gate_->weight.to(type)));
  grad.add_(at::mm(s.router_up, up_->weight.to(type)));
}

void ExpertRouting::weight_grad(const BlockStash& s) const {
  const at::ScalarType type = s.experts.scalar_type();
  const at::Tensor off = (own(s.experts) == 0).to(type);
  mean_->grad.addmm_(off.t(), s.middle.to(type));
  if (!scale_) return;
  const at::Tensor x = s.norm2.to(type);
  if (weight_) weight_->grad.addmm_(s.score.t(), x);
  if (!gate_) return;
  gate_->grad.addmm_(s.router_gate.t(), x);
  up_->grad.addmm_(s.router_up.t(), x);
}

}  // namespace lacuna
