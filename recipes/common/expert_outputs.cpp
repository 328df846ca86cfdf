#include "recipes/common/expert_outputs.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "src/base/error.h"

namespace lacuna {

namespace {

constexpr std::int64_t kChunk = 2048;  // tokens at a time
constexpr double kPull = 1e-3;         // of the stand-ins to the mean outputs

}  // namespace

ExpertOutputs::ExpertOutputs(const FfnWeights& ffn, std::vector<std::int64_t> begin,
                             const at::Tensor& inputs) {
  LACUNA_ASSERT(begin.size() >= 2 && begin.back() == ffn.neurons());
  const std::int64_t first = begin.front(), neurons = begin.back() - first, tokens = inputs.size(0);
  const FfnWeights part = {ffn.gate.narrow(0, first, neurons), ffn.up.narrow(0, first, neurons),
                           ffn.down.narrow(1, first, neurons), ffn.activation};
  for (std::int64_t& b : begin) b -= first;
  begin_ = std::move(begin);
  down_ = part.down.contiguous();
  products_ = at::empty({tokens, neurons}, inputs.options());
  squares_ = at::empty({tokens, experts()}, inputs.options().dtype(at::kDouble));
  for (std::int64_t at = 0; at < tokens; at += kChunk) {
    const std::int64_t count = std::min(kChunk, tokens - at);
    const at::Tensor h = part.products(inputs.narrow(0, at, count));
    products_.narrow(0, at, count).copy_(h);
    for (std::int64_t e = 0; e < experts(); ++e) {
      const at::Tensor y = at::matmul(of(h, e), of(down_, e).t());
      squares_.narrow(0, at, count).select(1, e).copy_(y.square().sum(1, false, at::kDouble));
    }
  }
}

at::Tensor ExpertOutputs::of(const at::Tensor& columns, std::int64_t expert) const {
  const auto e = static_cast<std::size_t>(expert);
  return columns.narrow(1, begin_[e], begin_[e + 1] - begin_[e]);
}

at::Tensor ExpertOutputs::mean_outputs() const {
  const at::Tensor mean = products_.sum(0, false, at::kDouble) / static_cast<double>(tokens());
  std::vector<at::Tensor> rows;
  for (std::int64_t e = 0; e < experts(); ++e)
    rows.push_back(at::mv(of(down_, e).to(at::kDouble), of(mean.unsqueeze(0), e).squeeze(0)));
  return at::stack(rows);
}

at::Tensor ExpertOutputs::stand_ins(const at::Tensor& on) const {
  const at::Tensor off = at::logical_not(on).to(at::kDouble);
  const at::Tensor plain = mean_outputs();
  // Zᵀ R with R_t = Σ_e z_te y_te, as (Zᵀ (h ⊙ z)) Dᵀ.
  std::vector<at::Tensor> sums;
  const at::Tensor narrow = off.to(at::kFloat);
  for (std::int64_t e = 0; e < experts(); ++e)
    sums.push_back(at::matmul(narrow.t(), of(products_, e) * narrow.select(1, e).unsqueeze(1)));
  const at::Tensor right = at::matmul(at::cat(sums, 1).to(at::kDouble), down_.to(at::kDouble).t());
  const double pull = kPull * static_cast<double>(tokens());
  const at::Tensor left = at::matmul(off.t(), off) + pull * at::eye(experts(), off.options());
  return at::linalg_solve(left, right + pull * plain);
}

at::Tensor ExpertOutputs::contributions(const at::Tensor& stand_ins) const {
  const at::Tensor m = stand_ins.to(at::kDouble);
  std::vector<at::Tensor> columns;
  for (std::int64_t e = 0; e < experts(); ++e) {
    const at::Tensor across = at::mv(of(down_, e).t(), m[e].to(at::kFloat));  // Dᵀ m of its neurons
    columns.push_back(squares_.select(1, e) - 2 * at::mv(of(products_, e), across).to(at::kDouble) +
                      m[e].square().sum());
  }
  return at::stack(columns, 1).clamp_min(0).sqrt();
}

at::Tensor ExpertOutputs::sizes(std::int64_t expert) const {
  return of(products_, expert).abs();
}

at::Tensor largest(const at::Tensor& scores, std::int64_t active) {
  at::Tensor on = at::zeros(scores.sizes(), scores.options().dtype(at::kBool));
  if (active == 0) return on;
  const at::Tensor order = std::get<1>(at::sort(scores, /*stable=*/true, 1, /*descending=*/true));
  return on.scatter_(1, order.narrow(1, 0, active), true);
}

}  // namespace lacuna
