#include "recipes/common/neuron_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "src/base/error.h"

namespace lacuna {

std::string name_of(NeuronScore score) {
  switch (score) {
    case NeuronScore::Rate:
      return "rate";
    case NeuronScore::Energy:
      return "energy";
    case NeuronScore::Flap:
      return "flap";
    case NeuronScore::Heapr:
      return "heapr";
  }
  return "?";
}

void from_text(const std::string& text, NeuronScore& score) {
  for (const NeuronScore known : kNeuronScores)
    if (text == name_of(known)) {
      score = known;
      return;
    }
  fail(ErrorKind::Usage, "'{}' is not a score of neurons; there are rate, energy, flap, heapr", text);
}

at::Tensor neuron_scores(NeuronScore score, const FfnWeights& ffn, const NeuronStatistics& s,
                         const at::Tensor& output_moment) {
  const at::Tensor down = ffn.down.to(at::kDouble);
  switch (score) {
    case NeuronScore::Rate:
      return (s.counts.to(at::kDouble) / static_cast<double>(s.tokens)).cpu();
    case NeuronScore::Energy:
      return (s.second * down.square().sum(0)).cpu();
    case NeuronScore::Flap:
      return ((s.second - s.mean.square()).clamp_min(0) * down.square().sum(0)).cpu();
    case NeuronScore::Heapr:
      break;
  }
  LACUNA_ASSERT(output_moment.defined());
  const at::Tensor moment = output_moment.to(down.device());
  return (s.second * (down * at::matmul(moment, down)).sum(0).clamp_min(0)).cpu();
}

std::vector<std::int32_t> by_score(const at::Tensor& scores) {
  const at::Tensor flat = scores.to(at::kDouble).cpu().contiguous();
  const double* value = flat.const_data_ptr<double>();
  std::vector<std::int32_t> order(static_cast<std::size_t>(flat.numel()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [value](std::int32_t a, std::int32_t b) { return value[a] > value[b]; });
  return order;
}

}  // namespace lacuna
