#include "src/train/step_report.h"

#include <cmath>
#include <map>

#include "src/base/error.h"

namespace lacuna {

StepReporter::StepReporter(ParallelContext& context, const ModelConfig& config, const ParameterStore& store)
    : context_(context), layers_(static_cast<int>(config.layers)), ffn_(config.ffn) {
  std::map<std::string, std::size_t> place;
  for (const Parameter& p : parameters(config)) place.emplace(p.name, place.size());
  parameter_count_ = place.size();
  for (const LocalParameter& p : store.all()) canonical_.push_back(place.at(p.spec.name));
}

StepReport StepReporter::gather(const LlamaStage& stage, int micros, const std::vector<double>& squared_norms,
                                const SignalFlags& signals) {
  // One row a rank: [save, stop, loss and divergence of each micro, zeros, elements and l1 of each layer,
  // squared norms].
  const auto layers = static_cast<std::size_t>(layers_), count = static_cast<std::size_t>(micros);
  const std::size_t at_divergence = 2 + count, at_counts = at_divergence + count,
                    at_norms = at_counts + 3 * layers, width = at_norms + parameter_count_;
  std::vector<double> mine(width, 0.0);
  mine[0] = signals.save;
  mine[1] = signals.stop;
  if (context_.place.tp == 0)
    for (int m = 0; m < micros; ++m) {
      mine[2 + static_cast<std::size_t>(m)] = stage.micro_loss(m);
      mine[at_divergence + static_cast<std::size_t>(m)] = stage.micro_divergence(m);
    }
  for (const FfnCounts& counts : stage.ffn_counts()) {
    const std::size_t at = at_counts + 3 * static_cast<std::size_t>(counts.layer);
    mine[at] += static_cast<double>(counts.zeros);
    mine[at + 1] += static_cast<double>(counts.elements);
    mine[at + 2] += counts.l1;
  }
  for (std::size_t i = 0; i < squared_norms.size(); ++i) mine[at_norms + canonical_[i]] += squared_norms[i];

  const auto world = static_cast<std::size_t>(context_.world.size());
  std::vector<double> all(world * width);
  context_.world.all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)));

  const Topology& t = context_.topology;
  const auto value = [&](int pp, int dp, int tp, std::size_t column) {
    return all[static_cast<std::size_t>(rank_of(t, {pp, tp, dp})) * width + column];
  };
  // Only one pipeline rank has a non-zero value in a column, so the sum over pp is exact in any order.
  const auto over_pp = [&](int dp, int tp, std::size_t column) {
    double sum = 0;
    for (int pp = 0; pp < t.pp; ++pp) sum += value(pp, dp, tp, column);
    return sum;
  };
  StepReport report;
  for (std::size_t rank = 0; rank < world; ++rank) {
    report.save_asked |= all[rank * width] != 0;
    report.stop_asked |= all[rank * width + 1] != 0;
  }
  for (std::size_t m = 0; m < count; ++m)
    for (int dp = 0; dp < t.dp; ++dp) {
      report.loss_sum += over_pp(dp, 0, 2 + m);
      report.divergence_sum += over_pp(dp, 0, at_divergence + m);
    }
  for (std::size_t layer = 0; layer < layers; ++layer) {
    double zeros = 0, elements = 0, l1 = 0;
    for (int dp = 0; dp < t.dp; ++dp)
      for (int tp = 0; tp < t.tp; ++tp) {
        zeros += over_pp(dp, tp, at_counts + 3 * layer);
        elements += over_pp(dp, tp, at_counts + 3 * layer + 1);
        l1 += over_pp(dp, tp, at_counts + 3 * layer + 2);
      }
    report.zeros_per_layer.push_back(elements > 0 ? zeros / elements : 0);
    report.l1_per_layer.push_back(elements > 0 ? l1 / (elements / static_cast<double>(ffn_)) : 0);
  }
  double squares = 0;  // per tensor over tp and dp first, then over tensors in the table's order
  for (std::size_t i = 0; i < parameter_count_ && !squared_norms.empty(); ++i) {
    double tensor = 0;
    for (int tp = 0; tp < t.tp; ++tp)
      for (int dp = 0; dp < t.dp; ++dp) tensor += over_pp(dp, tp, at_norms + i);
    squares += tensor;
  }
  report.grad_norm = std::sqrt(squares);
  return report;
}

}  // namespace lacuna
