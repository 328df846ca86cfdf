#include "recipes/common/partition.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "recipes/common/assignment.h"
#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna {

namespace {

constexpr std::int64_t kChunk = 2048;  // tokens at a time

void scale_rows(at::Tensor& rows) {
  rows.div_(at::linalg_vector_norm(rows, 2, at::IntArrayRef({1}), true).clamp_min(1e-20));
}

at::Tensor squared_distance_to(const at::Tensor& profiles, const at::Tensor& squares, std::int64_t row) {
  const at::Tensor centre = profiles[row];
  return (squares - 2 * at::mv(profiles, centre) + squares[row]).clamp_min(0).to(at::kDouble).cpu();
}

// Rows that become the first centres.
std::vector<std::int64_t> plus_plus(const at::Tensor& profiles, const at::Tensor& squares, std::size_t count,
                                    std::uint64_t key) {
  const std::int64_t rows = profiles.size(0);
  std::vector<std::int64_t> chosen = {
      static_cast<std::int64_t>(rng_below(key, 0, static_cast<std::uint64_t>(rows)))};
  at::Tensor nearest = squared_distance_to(profiles, squares, chosen[0]);
  while (chosen.size() < count) {
    const double* d = nearest.const_data_ptr<double>();
    double total = 0, seen = 0;
    for (std::int64_t i = 0; i < rows; ++i) total += d[i] * d[i];
    const double mark = rng_uniform(key, chosen.size()) * total;
    std::int64_t pick = 0;
    for (std::int64_t i = 0; i < rows && seen <= mark; ++i)
      if (d[i] > 0) {
        seen += d[i] * d[i];
        pick = i;
      }
    chosen.push_back(pick);
    nearest = at::minimum(nearest, squared_distance_to(profiles, squares, pick));
  }
  return chosen;
}

// Sums of the rows of each cluster over their number: [clusters, tokens].
at::Tensor means_of(const at::Tensor& profiles, const std::vector<std::int32_t>& of,
                    const std::vector<std::int64_t>& sizes) {
  const auto count = static_cast<std::int64_t>(sizes.size());
  at::Tensor member = at::zeros({count, profiles.size(0)}, at::kFloat);
  float* to = member.data_ptr<float>();
  for (std::size_t i = 0; i < of.size(); ++i) {
    const auto cluster = static_cast<std::size_t>(of[i]);
    to[of[i] * profiles.size(0) + static_cast<std::int64_t>(i)] = 1.0f / static_cast<float>(sizes[cluster]);
  }
  return at::matmul(member.to(profiles.device()), profiles);
}

Clusters one_start(const at::Tensor& profiles, const at::Tensor& squares,
                   const std::vector<std::int64_t>& sizes, const ClusterOptions& options, std::uint64_t key) {
  const std::vector<std::int64_t> rows = plus_plus(profiles, squares, sizes.size(), key);
  at::Tensor centres = profiles.index_select(0, at::tensor(rows, at::kLong).to(profiles.device()));
  Clusters out;
  for (out.iterations = 1; out.iterations <= options.iterations; ++out.iterations) {
    const at::Tensor cost =
        (centres.square().sum(1).unsqueeze(0) - 2 * at::matmul(profiles, centres.t())).cpu().contiguous();
    const float* value = cost.const_data_ptr<float>();
    std::vector<std::int32_t> of =
        assign(std::span<const float>(value, static_cast<std::size_t>(cost.numel())), sizes);
    out.cost = squares.sum().item<double>();
    for (std::size_t i = 0; i < of.size(); ++i)
      out.cost += static_cast<double>(value[i * sizes.size() + static_cast<std::size_t>(of[i])]);
    const bool same = of == out.of;
    out.of = std::move(of);
    if (same) break;
    centres = means_of(profiles, out.of, sizes);
  }
  out.iterations = std::min(out.iterations, options.iterations);
  return out;
}

}  // namespace

Clusters balanced_clusters(const at::Tensor& profiles, const std::vector<std::int64_t>& sizes,
                           const ClusterOptions& options) {
  std::int64_t room = 0;
  for (const std::int64_t size : sizes) room += size;
  LACUNA_CHECK(room == profiles.size(0) && options.iterations >= 1 && options.starts >= 1,
               ErrorKind::Internal, "{} profiles into clusters of {} in all, {} iterations, {} starts",
               profiles.size(0), room, options.iterations, options.starts);
  if (profiles.size(0) == 0) return {};
  const at::Tensor squares = profiles.square().sum(1);
  Clusters best;
  for (int start = 0; start < options.starts; ++start) {
    const std::uint64_t key = rng_key(options.seed, "clusters, start " + std::to_string(start));
    Clusters got = one_start(profiles, squares, sizes, options, key);
    if (start == 0 || got.cost < best.cost) best = std::move(got);
  }
  return best;
}

at::Tensor contribution_profiles(const FfnWeights& ffn, const at::Tensor& inputs,
                                 const std::vector<std::int32_t>& list) {
  const at::Tensor rows = at::tensor(list, at::kInt).to(ffn.gate.device());
  const FfnWeights part = {ffn.gate.index_select(0, rows), ffn.up.index_select(0, rows), {}, ffn.activation};
  at::Tensor out = at::empty({static_cast<std::int64_t>(list.size()), inputs.size(0)}, inputs.options());
  for (std::int64_t first = 0; first < inputs.size(0); first += kChunk) {
    const std::int64_t count = std::min(kChunk, inputs.size(0) - first);
    out.narrow(1, first, count).copy_(part.products(inputs.narrow(0, first, count)).abs_().t());
  }
  scale_rows(out);
  return out;
}

at::Tensor coactivation_profiles(const NeuronStatistics& statistics, const std::vector<std::int32_t>& list) {
  at::Tensor out = marks_of(statistics, list).to(statistics.counts.device());
  scale_rows(out);
  return out;
}

}  // namespace lacuna
