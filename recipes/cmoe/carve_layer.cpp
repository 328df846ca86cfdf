#include "recipes/cmoe/carve_layer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "recipes/common/expert_outputs.h"
#include "recipes/common/partition.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

// The first `count` neurons, those of `first` before all others.
std::vector<std::int32_t> shared_set(const std::vector<std::int32_t>& ranked,
                                     const std::vector<std::int32_t>& first, std::int64_t count) {
  std::vector<std::int32_t> order = ranked;
  std::stable_partition(order.begin(), order.end(), [&](std::int32_t neuron) {
    return std::find(first.begin(), first.end(), neuron) != first.end();
  });
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<std::int32_t> others(const std::vector<std::int32_t>& chosen, std::int64_t neurons) {
  std::vector<std::int32_t> out;
  for (std::int32_t i = 0; i < neurons; ++i)
    if (!std::binary_search(chosen.begin(), chosen.end(), i)) out.push_back(i);
  return out;
}

FfnWeights reordered(const FfnWeights& ffn, const std::vector<std::int32_t>& order) {
  const at::Tensor index = at::tensor(order, at::kInt).to(ffn.gate.device());
  return {ffn.gate.index_select(0, index), ffn.up.index_select(0, index), ffn.down.index_select(1, index),
          ffn.activation};
}

// R with ‖R y‖² = yᵀ M y, M the mean of g gᵀ over tokens, scaled to mean 1 on the diagonal: what a change of
// the output does to the loss, to second order.
at::Tensor loss_root(const at::Tensor& moment) {
  const auto [values, vectors] = at::linalg_eigh(moment / moment.diagonal().mean());
  return values.clamp_min(0).sqrt().unsqueeze(1) * vectors.t();
}

double choose_chance(std::int64_t experts, std::int64_t active) {
  return std::exp(std::lgamma(static_cast<double>(active) + 1) +
                  std::lgamma(static_cast<double>(experts - active) + 1) -
                  std::lgamma(static_cast<double>(experts) + 1));
}

// Experts that are on, given scores (with biases).
at::Tensor switched_on(const at::Tensor& scores, std::int64_t active, bool threshold) {
  return threshold ? scores.gt(0) : largest(scores, active);
}

// regression: for the kinds that regress.
Router fit(RouterKind kind, const LayerEvidence& evidence, const std::optional<RidgeRegression>& regression,
           const ExpertOutputs& outputs, const FfnWeights& ffn, const RoutedLayer& shape,
           const at::Tensor& contributions, const CmoeOptions& options) {
  Router router;
  switch (kind) {
    case RouterKind::Linear:
      router = fit_linear(*regression, contributions);
      break;
    case RouterKind::LowRank:
      router = fit_low_rank(*regression, evidence.statistics, contributions, ffn, shape.begin, options.rank);
      break;
    case RouterKind::Neuron:
      router = fit_neuron(outputs, contributions, ffn, shape.begin);
      break;
    default:
      router.kind = kind;
      return router;
  }
  const at::Tensor scores = choosing_scores(router, evidence.inputs, ffn.activation);
  if (options.balance > 0) balance(router, scores, shape.active, options.balance);
  if (options.thresholded())
    set_threshold(router, choosing_scores(router, evidence.inputs, ffn.activation),
                  static_cast<double>(shape.active));
  return router;
}

}  // namespace

std::vector<std::int32_t> carve_order(const LayerEvidence& e, const RoutedLayer& shape,
                                      const CmoeOptions& options) {
  const at::Tensor scores = neuron_scores(options.shared_by, e.ffn, e.statistics, e.output_moment);
  std::vector<std::int32_t> order = shared_set(
      by_score(scores), options.guard ? e.super_neurons : std::vector<std::int32_t>{}, shape.shared);
  const std::vector<std::int32_t> rest = others(order, e.ffn.neurons());
  std::vector<std::int64_t> sizes;
  for (std::int64_t expert = 0; expert < shape.experts(); ++expert) sizes.push_back(shape.size(expert));
  at::Tensor profiles;
  if (options.clusters == "coactivation") {
    const auto marked = static_cast<std::int64_t>(
        std::ceil(options.coactivation_share * static_cast<double>(e.ffn.neurons())));
    profiles = coactivation_profiles(neuron_statistics(e.ffn, e.inputs, marked), rest);
  } else {
    profiles = contribution_profiles(e.ffn, e.inputs, rest);
  }
  const Clusters clusters = balanced_clusters(profiles, sizes, {options.iterations, options.starts, 1});
  for (std::int32_t expert = 0; expert < shape.experts(); ++expert)
    for (std::size_t i = 0; i < rest.size(); ++i)
      if (clusters.of[i] == expert) order.push_back(rest[i]);
  return order;
}

CarvedLayer fit_experts(const LayerEvidence& e, const RoutedLayer& shape, std::vector<std::int32_t> order,
                        RouterKind kind, const CmoeOptions& options) {
  CarvedLayer layer;
  layer.order = std::move(order);
  const FfnWeights ffn = reordered(e.ffn, layer.order);
  const ExpertOutputs outputs(ffn, shape.begin, e.inputs);
  const bool in_loss = options.metric == "loss" && kind != RouterKind::Oracle && e.output_moment.defined();
  at::Tensor root;
  std::optional<ExpertOutputs> seen_by_loss;
  if (in_loss) {
    root = loss_root(e.output_moment).to(ffn.down.device());
    FfnWeights through = ffn;
    through.down = at::matmul(root.to(at::kFloat), ffn.down);
    seen_by_loss.emplace(through, shape.begin, e.inputs);
  }
  layer.stand_ins = outputs.mean_outputs();
  if (!options.compensate) layer.stand_ins.zero_();
  layer.router.kind = kind;
  const bool chooses = kind != RouterKind::None && kind != RouterKind::Random;
  std::optional<RidgeRegression> regression;
  if (kind == RouterKind::Linear || kind == RouterKind::LowRank)
    regression.emplace(e.statistics, e.inputs, options.ridge);
  for (int round = 0; chooses && round <= options.refits; ++round) {
    const at::Tensor contributions = in_loss
                                         ? seen_by_loss->contributions(at::matmul(layer.stand_ins, root.t()))
                                         : outputs.contributions(layer.stand_ins);
    layer.router = fit(kind, e, regression, outputs, ffn, shape, contributions, options);
    if (round == options.refits || !options.compensate) break;
    const at::Tensor scores =
        layer.router.bias.defined() ? choosing_scores(layer.router, e.inputs, ffn.activation) : contributions;
    layer.stand_ins = outputs.stand_ins(
        switched_on(scores, shape.active, options.thresholded() && kind != RouterKind::Oracle));
  }
  layer.quality = measure_routing(layer, e, shape, options.thresholded() && kind != RouterKind::Oracle);
  return layer;
}

CarvedLayer prune_layer(const LayerEvidence& e, const RoutedLayer& shape, NeuronScore score,
                        bool compensate) {
  CarvedLayer layer;
  const at::Tensor scores = neuron_scores(score, e.ffn, e.statistics, e.output_moment);
  layer.order = shared_set(by_score(scores), {}, shape.shared);
  for (const std::int32_t neuron : others(layer.order, e.ffn.neurons())) layer.order.push_back(neuron);
  const at::Tensor off =
      at::tensor(std::vector<std::int32_t>(layer.order.begin() + shape.shared, layer.order.end()), at::kInt)
          .to(e.ffn.gate.device());
  if (compensate && off.numel() > 0)
    layer.stand_ins =
        at::mv(e.ffn.down.to(at::kDouble).index_select(1, off), e.statistics.mean.index_select(0, off))
            .unsqueeze(0);
  return layer;
}

RoutingQuality measure_routing(const CarvedLayer& layer, const LayerEvidence& evidence,
                               const RoutedLayer& shape, bool threshold) {
  const at::Tensor& inputs = evidence.check_inputs;
  RoutingQuality q;
  const std::int64_t experts = shape.experts();
  q.chance = choose_chance(experts, shape.active);
  q.active = static_cast<double>(shape.active);
  if (inputs.size(0) == 0) return q;
  const FfnWeights ffn = reordered(evidence.ffn, layer.order);
  const ExpertOutputs outputs(ffn, shape.begin, inputs);
  const at::Tensor contributions = outputs.contributions(layer.stand_ins);
  const at::Tensor energy = contributions.square();
  const double total = std::max(energy.sum().item<double>(), 1e-300);
  const at::Tensor best = largest(contributions, shape.active);
  const auto lost = [&](const at::Tensor& on) {
    return (energy * at::logical_not(on)).sum().item<double>() / total;
  };
  q.lost_oracle = lost(best);
  q.lost_random = 1 - static_cast<double>(shape.active) / static_cast<double>(experts);
  q.lost = layer.router.kind == RouterKind::Random ? q.lost_random : q.lost_oracle;
  q.agreement = layer.router.kind == RouterKind::Random ? q.chance : 1;
  if (!layer.router.bias.defined()) return q;
  const at::Tensor on =
      switched_on(choosing_scores(layer.router, inputs, ffn.activation), shape.active, threshold);
  const at::Tensor loads = on.to(at::kDouble).mean(0);
  q.agreement = on.eq(best).all(1).to(at::kDouble).mean().item<double>();
  q.lost = lost(on);
  q.active = loads.sum().item<double>();
  q.load = loads.max().item<double>() / std::max(loads.mean().item<double>(), 1e-300);
  return q;
}

}  // namespace lacuna
