#include "src/model/head_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "src/base/error.h"
#include "src/model/linear.h"
#include "src/model/norm.h"
#include "src/model/stash_view.h"

namespace lacuna {

HeadStash::HeadStash(std::byte* memory, const StashLayout& layout, at::Device device)
    : input(view_slot(memory, layout, "input", device)),
      norm(view_slot(memory, layout, "norm", device)),
      rstd(view_slot(memory, layout, "rstd", device)) {}

HeadLoss::HeadLoss(ModelContext& context, ParameterStore& store)
    : context_(context),
      norm_(&store.at("model.norm.weight")),
      head_(context.config.tied_embeddings ? &store.at("model.embed_tokens.weight", true)
                                           : &store.at("lm_head.weight")),
      columns_{head_->local.slab.offset[0], head_->local.slab.extent[0]},
      logits_(at::empty({head_rows(context.shape), head_->weight.size(0)}, head_->weight.options())) {}

void HeadLoss::keep_rows(const at::Tensor& logits, std::int64_t first, const KeptLogits& keep) const {
  for (std::size_t place = 0; place < keep.tokens.size(); ++place) {
    const std::int64_t token = keep.tokens[place] - first;
    if (token < 0 || token >= logits.size(0)) continue;
    const at::Tensor row = logits.select(0, token).to(at::kCPU, at::kDouble);
    std::copy_n(row.const_data_ptr<double>(), columns_.valid,
                keep.values.begin() + static_cast<std::ptrdiff_t>(place) * row.numel());
  }
}

void HeadLoss::normalise(const HeadStash& s) const {
  rms_norm(s.input, norm_->weight, context_.config.norm_eps, s.norm, s.rstd);
}

at::Tensor HeadLoss::gather_states(const TeacherRows& teacher) {
  if (teacher.share == 0) return {};
  LACUNA_ASSERT(teacher.head.size(0) == head_->weight.size(0));
  if (!teacher_logits_.defined()) {
    teacher_logits_ = at::empty_like(logits_);
    taught_ = at::empty({context_.shards.size() * teacher.states.size(0), teacher.states.size(1)},
                        teacher.states.options());
  }
  return context_.shards.gather(teacher.states, taught_);
}

void HeadLoss::forward(const HeadStash& s, const TokenIds& targets, double loss_scale, bool gradients,
                       const KeptLogits& keep, const at::Tensor& loss, const TeacherRows& teacher) {
  normalise(s);
  const at::Tensor taught = gather_states(teacher);
  const at::Tensor x = context_.shards.gather(s.norm, context_.work.all);
  // With one rank the gradient of a chunk replaces the chunk, which is no longer needed.
  const at::Tensor x_grad = context_.shards.size() == 1 ? s.norm : context_.work.all_grad;
  keep.values.assign(keep.tokens.size() * static_cast<std::size_t>(head_->weight.size(0)),
                     -std::numeric_limits<double>::infinity());
  const std::int64_t tokens = x.size(0), chunk = logits_.size(0);
  for (std::int64_t first = 0; first < tokens; first += chunk) {
    const std::int64_t count = std::min(chunk, tokens - first);
    const at::Tensor rows = x.narrow(0, first, count), logits = logits_.narrow(0, 0, count);
    linear(rows, head_->weight, {}, logits);
    keep_rows(logits, first, keep);
    TokenIds scored{targets.host.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
                    {}};
    if (targets.device.defined()) scored.device = targets.device.narrow(0, first, count);
    if (taught.defined()) {
      const at::Tensor wanted = teacher_logits_.narrow(0, 0, count);
      linear(taught.narrow(0, first, count), teacher.head, {}, wanted);
      distil_loss(logits, {wanted, teacher.divergence, teacher.share}, scored, columns_, loss_scale,
                  context_.shards, loss);
    } else {
      cross_entropy(logits, scored, columns_, loss_scale, context_.shards, loss);
    }
    if (!gradients) continue;
    if (head_->grad.defined()) linear_weight_grad(logits, rows, *head_);
    linear_input_grad(logits, head_->weight, x_grad.narrow(0, first, count));
  }
  if (gradients) context_.shards.scatter_sum(x_grad, s.norm);
}

void HeadLoss::input_grad(const HeadStash& s, const at::Tensor& grad) const {
  rms_norm_backward(s.norm, s.input, s.rstd, norm_->weight, {}, grad, norm_->grad);
}

}  // namespace lacuna
