#include "src/model/distil_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "src/base/error.h"
#include "src/model/element_types.h"

namespace lacuna {

namespace {

// Logits of one model, minus the row's maximum over the whole vocabulary, with their exponentials.
struct Rows {
  at::Tensor shifted, exponentials;
};

at::Tensor top_of(const at::Tensor& logits) {
  if (logits.size(1) > 0) return logits.amax(1);
  return at::full({logits.size(0)}, -std::numeric_limits<double>::infinity(), logits.options());
}

Rows rows_of(const at::Tensor& logits, const at::Tensor& top) {
  const at::Tensor shifted = logits - top.unsqueeze(1);
  return {shifted, shifted.exp()};
}

at::Tensor ids_of(const TokenIds& targets) {
  if (targets.device.defined()) return targets.device.to(at::kLong);
  const auto count = static_cast<std::int64_t>(targets.host.size());
  at::Tensor ids = at::empty({count}, at::kLong);
  std::copy(targets.host.begin(), targets.host.end(), ids.data_ptr<std::int64_t>());
  return ids;
}

void over_ranks(const at::Tensor& values, const TokenShards& shards, bool maximum) {
  if (shards.size() == 1) return;
  const DType dtype = values.scalar_type() == at::kDouble ? DType::F64 : DType::F32;
  const auto count = static_cast<std::size_t>(values.numel());
  if (maximum)
    shards.communicator()->all_reduce_max(values.data_ptr(), count, dtype);
  else
    shards.communicator()->all_reduce_sum(values.data_ptr(), count, dtype);
}

}  // namespace

void distil_loss(const at::Tensor& logits, const Teaching& teaching, const TokenIds& targets,
                 VocabColumns columns, double scale, const TokenShards& shards, const at::Tensor& loss) {
  LACUNA_ASSERT(teaching.logits.sizes() == logits.sizes());
  const at::ScalarType type = accumulate_type(logits.scalar_type());
  const std::int64_t valid = columns.valid;
  const at::Tensor student_logits = logits.narrow(1, 0, valid).to(type),
                   teacher_logits = teaching.logits.narrow(1, 0, valid).to(type);
  const at::Tensor tops = at::stack({top_of(student_logits), top_of(teacher_logits)});
  over_ranks(tops, shards, true);
  const Rows student = rows_of(student_logits, tops[0]), teacher = rows_of(teacher_logits, tops[1]);

  const at::Tensor ids = ids_of(targets), column = ids - columns.first;
  const at::Tensor scored = ids.ge(0).to(type), here = (ids.ge(0) & column.ge(0) & column.lt(valid)).to(type);
  const at::Tensor place = column.clamp(0, std::max<std::int64_t>(valid - 1, 0)).unsqueeze(1);
  const at::Tensor target =
      valid > 0 ? student.shifted.gather(1, place).squeeze(1) * here : at::zeros_like(scored);

  // Of each row: both sums of exponentials, the target's logit, Σ e·(teacher's logit - student's).
  const at::Tensor sums = at::stack({student.exponentials.sum(1), teacher.exponentials.sum(1), target,
                                     (teacher.exponentials * (teacher.shifted - student.shifted)).sum(1)});
  over_ranks(sums, shards, false);
  const at::Tensor log_student = sums[0].log(), log_teacher = sums[1].log();
  loss.add_(((log_student - sums[2]) * scored).sum(at::kDouble));
  teaching.divergence.add_(((sums[3] / sums[1] - log_teacher + log_student) * scored).sum(at::kDouble));

  at::Tensor grad = student.exponentials.mul_((scale * scored / sums[0]).unsqueeze(1));
  grad.sub_(teacher.exponentials.mul_((scale * teaching.share * scored / sums[1]).unsqueeze(1)));
  if (valid > 0) {
    const at::Tensor at_target = grad.gather(1, place);
    grad.scatter_(1, place, at_target - (scale * (1 - teaching.share) * here).unsqueeze(1));
  }
  logits.narrow(1, 0, valid).copy_(grad);
  logits.narrow(1, valid, logits.size(1) - valid).zero_();
}

}  // namespace lacuna
