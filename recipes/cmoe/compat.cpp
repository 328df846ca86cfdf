#include "recipes/cmoe/compat.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "recipes/common/assignment.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

// Hamming distances of the marks of `rows` to those of `seeds`: n_i + n_j − 2·co(i, j).
std::vector<double> distances(const NeuronStatistics& s, const std::vector<std::int32_t>& rows,
                              const std::vector<std::int32_t>& seeds) {
  const at::Tensor together = coactivation(s, rows, seeds), counts = s.counts.cpu();
  const auto count = counts.accessor<std::int64_t, 1>();
  const auto both = together.accessor<std::int64_t, 2>();
  std::vector<double> out;
  for (std::int64_t i = 0; i < both.size(0); ++i)
    for (std::int64_t j = 0; j < both.size(1); ++j)
      out.push_back(static_cast<double>(count[rows[static_cast<std::size_t>(i)]] +
                                        count[seeds[static_cast<std::size_t>(j)]] - 2 * both[i][j]));
  return out;
}

// The member whose marks are nearest, in L1, to the mean of the members' marks.
std::int32_t representative(const NeuronStatistics& s, const std::vector<std::int32_t>& members) {
  const at::Tensor marks = marks_of(s, members);
  const at::Tensor apart = (marks - marks.mean(0, true)).abs().sum(1, false, at::kDouble);
  const double* value = apart.const_data_ptr<double>();
  const auto best = std::min_element(value, value + apart.numel()) - value;
  return members[static_cast<std::size_t>(best)];
}

}  // namespace

CarvedLayer carve_as_published(const LayerEvidence& e, const RoutedLayer& shape, std::int64_t top) {
  const NeuronStatistics s = neuron_statistics(e.ffn, e.inputs, top, true);
  const auto experts = static_cast<std::size_t>(shape.experts());
  const auto shared = static_cast<std::size_t>(shape.shared);
  const std::vector<std::int32_t> ranked = by_score(s.counts);
  LACUNA_ASSERT(shared + experts <= ranked.size());
  CarvedLayer layer;
  layer.order.assign(ranked.begin(), ranked.begin() + shape.shared);
  const std::vector<std::int32_t> seeds(ranked.begin() + shape.shared,
                                        ranked.begin() + static_cast<std::ptrdiff_t>(shared + experts));
  std::vector<std::int32_t> rest(ranked.begin() + shape.shared, ranked.end());
  std::sort(layer.order.begin(), layer.order.end());
  std::sort(rest.begin(), rest.end());
  std::vector<std::int64_t> sizes;
  for (std::size_t expert = 0; expert < experts; ++expert)
    sizes.push_back(shape.size(static_cast<std::int64_t>(expert)));
  const std::vector<std::int32_t> of = assign(std::span<const double>(distances(s, rest, seeds)), sizes);

  const FfnWeights unit = with_unit_rows(e.ffn);
  std::vector<at::Tensor> gates, ups;
  for (std::size_t expert = 0; expert < experts; ++expert) {
    std::vector<std::int32_t> members;
    for (std::size_t i = 0; i < rest.size(); ++i)
      if (of[i] == static_cast<std::int32_t>(expert)) members.push_back(rest[i]);
    layer.order.insert(layer.order.end(), members.begin(), members.end());
    const std::int32_t neuron = representative(s, members);
    gates.push_back(unit.gate[neuron]);
    ups.push_back(unit.up[neuron]);
  }
  layer.router.kind = RouterKind::Neuron;
  layer.router.rank = 1;
  layer.router.gate = at::stack(gates).to(at::kDouble);
  layer.router.up = at::stack(ups).to(at::kDouble);
  layer.router.bias = at::zeros({shape.experts()}, layer.router.gate.options());
  layer.stand_ins = at::zeros({shape.experts(), e.ffn.down.size(0)}, layer.router.gate.options());
  layer.quality = measure_routing(layer, e, shape, false);
  return layer;
}

}  // namespace lacuna
