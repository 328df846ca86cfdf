#include "src/model/head_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "src/model/linear.h"
#include "src/model/norm.h"
#include "src/model/stash_view.h"

namespace lacuna {

HeadStash::HeadStash(std::byte* memory, const StashLayout& layout)
    : input(view_slot(memory, layout, "input")),
      norm(view_slot(memory, layout, "norm")),
      rstd(view_slot(memory, layout, "rstd")),
      logits(view_slot(memory, layout, "logits")) {}

HeadLoss::HeadLoss(ModelContext& context, ParameterStore& store)
    : context_(context),
      norm_(&store.at("model.norm.weight")),
      head_(context.config.tied_embeddings ? &store.at("model.embed_tokens.weight", true)
                                           : &store.at("lm_head.weight")) {}

double HeadLoss::forward(const HeadStash& s, std::span<const std::int32_t> targets, double loss_scale,
                         const KeptLogits& keep) const {
  rms_norm(s.input, norm_->weight, context_.config.norm_eps, s.norm, s.rstd);
  linear(context_.shards.gather(s.norm, context_.work.all), head_->weight, {}, s.logits);
  const VocabColumns columns{head_->local.slab.offset[0], head_->local.slab.extent[0]};
  keep.values.clear();
  for (std::int64_t token : keep.tokens) {
    const at::Tensor row = s.logits.select(0, token).to(at::kDouble);
    const double* from = row.const_data_ptr<double>();
    keep.values.insert(keep.values.end(), from, from + columns.valid);
    keep.values.insert(keep.values.end(), static_cast<std::size_t>(row.numel() - columns.valid),
                       -std::numeric_limits<double>::infinity());
  }
  return cross_entropy(s.logits, targets, columns, loss_scale, context_.shards);
}

void HeadLoss::input_grad(const HeadStash& s, const at::Tensor& grad) const {
  linear_input_grad(s.logits, head_->weight, context_.work.all);
  const at::Tensor norm_grad = context_.shards.scatter_sum(context_.work.all, context_.work.mine);
  rms_norm_backward(norm_grad, s.input, s.rstd, norm_->weight, {}, grad, norm_->grad);
}

void HeadLoss::weight_grad(const HeadStash& s) const {
  linear_weight_grad(s.logits, context_.shards.gather(s.norm, context_.work.all), head_->grad);
}

}  // namespace lacuna
