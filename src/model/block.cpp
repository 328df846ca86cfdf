#include "src/model/block.h"

#include <ATen/ATen.h>

#include <utility>

#include "src/model/linear.h"
#include "src/model/norm.h"
#include "src/model/stash_view.h"

namespace lacuna {

namespace {

at::Tensor weight_of(const LocalParameter* parameter) {
  return parameter ? parameter->weight : at::Tensor{};
}

}  // namespace

BlockStash::BlockStash(std::byte* memory, const StashLayout& layout, at::Device device) {
  const auto slot = [&](std::string_view name) { return view_slot(memory, layout, name, device); };
  input = slot("input");
  norm1 = slot("norm1");
  query = slot("query");
  key = slot("key");
  value = slot("value");
  context = slot("context");
  middle = slot("middle");
  norm2 = slot("norm2");
  gate = slot("gate");
  up = slot("up");
  product = slot("product");
  lse = slot("lse");
  rstd1 = slot("rstd1");
  rstd2 = slot("rstd2");
  query_raw = slot("query_raw");
  key_raw = slot("key_raw");
  query_rstd = slot("query_rstd");
  key_rstd = slot("key_rstd");
  experts = slot("experts");
  score = slot("score");
  router_gate = slot("router_gate");
  router_up = slot("router_up");
}

Block::Block(ModelContext& context, ParameterStore& store, int layer) : context_(context), layer_(layer) {
  for (LocalParameter& p : store.all()) {
    if (p.spec.layer != layer) continue;
    switch (p.spec.role) {
      case Role::AttentionNorm:
        weights_.norm1 = &p;
        break;
      case Role::Query:
        weights_.query = &p;
        break;
      case Role::Key:
        weights_.key = &p;
        break;
      case Role::Value:
        weights_.value = &p;
        break;
      case Role::QueryBias:
        weights_.query_bias = &p;
        break;
      case Role::KeyBias:
        weights_.key_bias = &p;
        break;
      case Role::ValueBias:
        weights_.value_bias = &p;
        break;
      case Role::QueryNorm:
        weights_.query_norm = &p;
        break;
      case Role::KeyNorm:
        weights_.key_norm = &p;
        break;
      case Role::Output:
        weights_.output = &p;
        break;
      case Role::FfnNorm:
        weights_.norm2 = &p;
        break;
      case Role::Gate:
        weights_.gate = &p;
        break;
      case Role::Up:
        weights_.up = &p;
        break;
      case Role::Down:
        weights_.down = &p;
        break;
      default:
        break;
    }
  }
  if (context.config.is_routed()) routing_.emplace(context, store, layer);
}

void Block::row_parallel(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& y) const {
  if (context_.shards.size() == 1) {
    linear_add(residual, x, weight, y);
    return;
  }
  linear(x, weight, {}, context_.work.all);
  context_.shards.scatter_sum(context_.work.all, y);
  y.add_(residual);
}

void Block::attention_forward(const BlockStash& s) const {
  const double eps = context_.config.norm_eps;
  rms_norm(s.input, weights_.norm1->weight, eps, s.norm1, s.rstd1);
  const at::Tensor x = context_.shards.gather(s.norm1, context_.work.all);
  const bool qk_norm = context_.config.qk_norm;
  const at::Tensor query = qk_norm ? s.query_raw : s.query, key = qk_norm ? s.key_raw : s.key;
  linear(x, weights_.query->weight, weight_of(weights_.query_bias), query);
  linear(x, weights_.key->weight, weight_of(weights_.key_bias), key);
  linear(x, weights_.value->weight, weight_of(weights_.value_bias), s.value);
  if (qk_norm) {
    rms_norm(s.query_raw, weights_.query_norm->weight, eps, s.query, s.query_rstd);
    rms_norm(s.key_raw, weights_.key_norm->weight, eps, s.key, s.key_rstd);
  }
  context_.rope.rotate(s.query, s.key);
  context_.attention.forward(s.query, s.key, s.value, s.context, s.lse);
}

void Block::forward(const BlockStash& s, const at::Tensor& output, ProductCounts& counts) const {
  attention_forward(s);
  row_parallel(s.input, s.context, weights_.output->weight, s.middle);
  rms_norm(s.middle, weights_.norm2->weight, context_.config.norm_eps, s.norm2, s.rstd2);
  const at::Tensor x = context_.shards.gather(s.norm2, context_.work.all);
  linear(x, weights_.gate->weight, {}, s.gate);
  linear(x, weights_.up->weight, {}, s.up);
  ProductCounts unrouted;
  glu_forward(context_.config.activation, s.gate, s.up, s.product, context_.work.neuron_sums,
              routing_ ? unrouted : counts);
  if (routing_) counts.add(routing_->forward(s, context_.work.neurons), s.product.numel());
  if (!output.defined()) return;
  const at::Tensor product = routing_ ? context_.work.neurons : s.product;
  row_parallel(s.middle, product, weights_.down->weight, output);
  if (routing_) routing_->add_means(s, output);
}

// Leaves the gradient of `middle` in work.residual and the output's gradient in the slot `middle`.
void Block::ffn_input_grad(const BlockStash& s, const at::Tensor& grad, Penalty l1) const {
  const Workspace& work = context_.work;
  linear_input_grad(context_.shards.gather(grad, work.all_grad), weights_.down->weight, work.neurons);
  if (routing_) routing_->product_grad(s, work.neurons, std::exchange(l1, {}));
  glu_backward(context_.config.activation, s.gate, s.up, s.product, work.neurons, l1, work.neuron_sums);
  linear_input_grad(s.gate, weights_.gate->weight, work.all);
  linear_input_grad_add(s.up, weights_.up->weight, work.all);
  const at::Tensor norm_grad = context_.shards.scatter_sum(work.all, work.mine);
  if (routing_) routing_->add_input_grad(s, norm_grad);
  rms_norm_backward(norm_grad, s.middle, s.rstd2, weights_.norm2->weight, grad, work.residual,
                    weights_.norm2->grad, s.middle);
}

void Block::attention_input_grad(const BlockStash& s, const at::Tensor& grad) const {
  const Workspace& work = context_.work;
  linear_input_grad(context_.shards.gather(work.residual, work.all_grad), weights_.output->weight,
                    work.heads);
  context_.attention.backward(s.query, s.key, s.value, s.context, s.lse, work.heads, context_.rope);
  if (context_.config.qk_norm) {
    rms_norm_backward(s.query, s.query_raw, s.query_rstd, weights_.query_norm->weight, {}, s.query,
                      weights_.query_norm->grad);
    rms_norm_backward(s.key, s.key_raw, s.key_rstd, weights_.key_norm->weight, {}, s.key,
                      weights_.key_norm->grad);
  }
  linear_input_grad(s.query, weights_.query->weight, work.all);
  linear_input_grad_add(s.key, weights_.key->weight, work.all);
  linear_input_grad_add(s.value, weights_.value->weight, work.all);
  const at::Tensor norm_grad = context_.shards.scatter_sum(work.all, work.mine);
  rms_norm_backward(norm_grad, s.input, s.rstd1, weights_.norm1->weight, work.residual, grad,
                    weights_.norm1->grad, s.input);
}

void Block::input_grad(const BlockStash& s, const at::Tensor& grad, Penalty l1) const {
  ffn_input_grad(s, grad, l1);
  attention_input_grad(s, grad);
}

void Block::weight_grad(const BlockStash& s) const {
  const TokenShards& shards = context_.shards;
  const Workspace& work = context_.work;
  linear_weight_grad(shards.gather(s.middle, work.all_grad), s.product, *weights_.down);
  const at::Tensor norm2 = shards.gather(s.norm2, work.all);
  linear_weight_grad(s.gate, norm2, *weights_.gate);
  linear_weight_grad(s.up, norm2, *weights_.up);
  if (routing_) routing_->weight_grad(s);
  linear_weight_grad(shards.gather(s.input, work.all_grad), s.context, *weights_.output);
  const at::Tensor norm1 = shards.gather(s.norm1, work.all);
  linear_weight_grad(s.query, norm1, *weights_.query);
  linear_weight_grad(s.key, norm1, *weights_.key);
  linear_weight_grad(s.value, norm1, *weights_.value);
  if (weights_.query_bias) bias_grad(s.query, weights_.query_bias->grad);
  if (weights_.key_bias) bias_grad(s.key, weights_.key_bias->grad);
  if (weights_.value_bias) bias_grad(s.value, weights_.value_bias->grad);
}

}  // namespace lacuna
