#include "recipes/common/router_fit.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "src/base/error.h"

namespace lacuna {

namespace {

// ‖rows of one expert · x‖: [tokens, experts].
at::Tensor norms_by_expert(const at::Tensor& rows, const at::Tensor& inputs, std::int64_t rank) {
  const at::Tensor values = at::matmul(inputs, rows.to(at::kFloat).t()).to(at::kDouble);
  return at::linalg_vector_norm(values.reshape({inputs.size(0), -1, rank}), 2, at::IntArrayRef({2}));
}

// The leading `rank` combinations of `rows` [n, hidden] under E[xxᵀ]: Uᵀ rows. Solvers return vectors with
// either sign: the largest component is made positive, so that every device finds the same.
at::Tensor leading(const at::Tensor& rows, const at::Tensor& second, std::int64_t rank) {
  const at::Tensor moment = at::linalg_multi_dot({rows, second, rows.t()});
  const at::Tensor vectors = std::get<1>(at::linalg_eigh(moment));  // ascending
  const at::Tensor chosen = vectors.narrow(1, vectors.size(1) - rank, rank);
  const at::Tensor largest = chosen.gather(0, chosen.abs().argmax(0, true));
  return at::matmul((chosen * largest.sign()).t(), rows);
}

}  // namespace

RidgeRegression::RidgeRegression(const NeuronStatistics& s, const at::Tensor& inputs, double ridge)
    : inputs_(inputs), mean_(s.input_mean) {
  at::Tensor covariance = s.input_second - at::outer(mean_, mean_);
  const double level = ridge * covariance.diagonal().mean().item<double>();
  covariance.diagonal().add_(std::max(level, 1e-30));
  factor_ = at::linalg_cholesky(covariance);
}

std::pair<at::Tensor, at::Tensor> RidgeRegression::fit(const at::Tensor& targets) const {
  const at::Tensor mean = targets.mean(0);
  const double tokens = static_cast<double>(inputs_.size(0));
  const at::Tensor centred = (targets - mean).to(at::kFloat);
  const at::Tensor with_inputs =
      at::matmul(centred.t(), inputs_ - mean_.to(at::kFloat)).to(at::kDouble) / tokens;
  const at::Tensor weight = at::cholesky_solve(with_inputs.t(), factor_).t().contiguous();
  return {weight, mean - at::mv(weight, mean_)};
}

at::Tensor RidgeRegression::residual(const at::Tensor& targets) const {
  const auto [weight, intercept] = fit(targets);
  return targets - at::matmul(inputs_, weight.to(at::kFloat).t()).to(at::kDouble) - intercept;
}

Router on_device(Router router, at::Device device) {
  for (at::Tensor* tensor : {&router.weight, &router.gate, &router.up, &router.bias})
    if (tensor->defined()) *tensor = tensor->to(device);
  return router;
}

at::Tensor choosing_scores(const Router& router, const at::Tensor& inputs, Activation activation) {
  at::Tensor scores = router.bias.unsqueeze(0).expand({inputs.size(0), -1});
  if (router.weight.defined())
    scores = scores + at::matmul(inputs, router.weight.to(at::kFloat).t()).to(at::kDouble);
  if (router.kind == RouterKind::LowRank)
    scores = scores + norms_by_expert(router.gate, inputs, router.rank) *
                          norms_by_expert(router.up, inputs, router.rank);
  if (router.kind == RouterKind::Neuron) {
    const FfnWeights rows = {router.gate.to(at::kFloat), router.up.to(at::kFloat), {}, activation};
    scores =
        scores +
        rows.products(inputs).abs_().reshape({inputs.size(0), -1, router.rank}).sum(2, false, at::kDouble);
  }
  return scores;
}

Router fit_linear(const RidgeRegression& regression, const at::Tensor& contributions) {
  Router router;
  router.kind = RouterKind::Linear;
  std::tie(router.weight, router.bias) = regression.fit(contributions);
  return router;
}

Router fit_low_rank(const RidgeRegression& regression, const NeuronStatistics& statistics,
                    const at::Tensor& contributions, const FfnWeights& ffn,
                    const std::vector<std::int64_t>& begin, std::int64_t rank) {
  const at::Tensor& inputs = regression.inputs();
  Router router;
  router.kind = RouterKind::LowRank;
  router.rank = rank;
  const at::Tensor size = ffn.down_norms().to(at::kDouble).sqrt().unsqueeze(1);
  const at::Tensor sigmoid = at::matmul(inputs, ffn.gate.t()).sigmoid_();
  const at::Tensor open =
      (sigmoid.square_().sum(0, false, at::kDouble) / static_cast<double>(inputs.size(0)));
  const at::Tensor gate = ffn.gate.to(at::kDouble) * size * open.sqrt().unsqueeze(1);
  const at::Tensor up = ffn.up.to(at::kDouble) * size;
  std::vector<at::Tensor> gates, ups;
  for (std::size_t e = 0; e + 1 < begin.size(); ++e) {
    const std::int64_t count = begin[e + 1] - begin[e];
    LACUNA_CHECK(count >= rank, ErrorKind::Usage, "a router of rank {} for an expert of {} neurons", rank,
                 count);
    gates.push_back(leading(gate.narrow(0, begin[e], count), statistics.input_second, rank));
    ups.push_back(leading(up.narrow(0, begin[e], count), statistics.input_second, rank));
  }
  router.gate = at::cat(gates);
  router.up = at::cat(ups);
  const at::Tensor feature =
      norms_by_expert(router.gate, inputs, rank) * norms_by_expert(router.up, inputs, rank);
  const at::Tensor rest = regression.residual(feature);
  const at::Tensor gain =
      ((rest * regression.residual(contributions)).sum(0) / rest.square().sum(0).clamp_min(1e-30))
          .clamp_min(0);
  const at::Tensor scale = gain.sqrt().repeat_interleave(rank).unsqueeze(1);
  router.gate = router.gate * scale;
  router.up = router.up * scale;
  std::tie(router.weight, router.bias) = regression.fit(contributions - feature * gain);
  return router;
}

Router fit_neuron(const ExpertOutputs& outputs, const at::Tensor& contributions, const FfnWeights& ffn,
                  const std::vector<std::int64_t>& begin) {
  Router router;
  router.kind = RouterKind::Neuron;
  router.rank = 1;
  std::vector<at::Tensor> gates, ups;
  router.bias = at::zeros({outputs.experts()}, contributions.options());
  for (std::int64_t e = 0; e < outputs.experts(); ++e) {
    const at::Tensor size = outputs.sizes(e).to(at::kDouble), target = contributions.select(1, e);
    const at::Tensor centred = size - size.mean(0);
    const at::Tensor covariance =
        at::mv(centred.t(), target - target.mean()) / static_cast<double>(size.size(0));
    const at::Tensor variance = centred.square().mean(0).clamp_min(1e-30);
    const auto best = (covariance / variance.sqrt()).argmax().item<std::int64_t>();
    const double gain = std::max(0.0, (covariance[best] / variance[best]).item<double>());
    const std::int64_t neuron = begin[static_cast<std::size_t>(e)] + best;
    gates.push_back(ffn.gate[neuron].to(at::kDouble));
    ups.push_back(ffn.up[neuron].to(at::kDouble) * gain);
    router.bias[e] = target.mean() - gain * size.select(1, best).mean();
  }
  router.gate = at::stack(gates);
  router.up = at::stack(ups);
  return router;
}

void set_threshold(Router& router, const at::Tensor& scores, double active) {
  const std::int64_t all = scores.numel();
  const auto on = static_cast<std::int64_t>(
      std::llround(active / static_cast<double>(scores.size(1)) * static_cast<double>(all)));
  if (on <= 0 || on >= all) return;
  const at::Tensor sorted = std::get<0>(scores.flatten().sort(0, true));
  const double between = 0.5 * (sorted[on - 1].item<double>() + sorted[on].item<double>());
  router.bias = router.bias - between;
}

void balance(Router& router, const at::Tensor& scores, std::int64_t active, double most) {
  constexpr int kRounds = 200;
  LACUNA_ASSERT(most >= 1);
  const double spread = scores.std().item<double>();
  at::Tensor shift = at::zeros_like(router.bias);
  for (int round = 0; round < kRounds; ++round) {
    const at::Tensor load = largest(scores + shift, active).to(at::kDouble).mean(0);
    const at::Tensor relative = load / load.mean();
    if (relative.max().item<double>() <= most) break;
    const double step = spread * 0.2 / (1.0 + round / 10.0);
    shift = shift - step * (relative - 1);
  }
  router.bias = router.bias + shift;
}

}  // namespace lacuna
