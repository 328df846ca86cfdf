// The published algorithm against a second form of it over plain vectors.
#include "recipes/cmoe/compat.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/recipes/cmoe/random_layer.h"

namespace lacuna::test {
namespace {

struct Published {
  std::vector<std::int32_t> shared, seeds;
  std::vector<std::vector<int>> marks;  // [neuron][token]
};

Published published_reference(const FfnWeights& ffn, const at::Tensor& x, int top, std::int64_t shared,
                              std::int64_t experts) {
  const std::int64_t neurons = ffn.neurons(), tokens = x.size(0), hidden = x.size(1);
  Published out;
  out.marks.assign(static_cast<std::size_t>(neurons), std::vector<int>(static_cast<std::size_t>(tokens), 0));
  const auto row = [&](const at::Tensor& m, std::int64_t r) {
    std::vector<double> v;
    double square = 0;
    for (std::int64_t c = 0; c < hidden; ++c) v.push_back(m[r][c].item<double>());
    for (const double value : v) square += value * value;
    for (double& value : v) value /= std::sqrt(square);
    return v;
  };
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::vector<double> token = row(x, t);
    std::vector<std::pair<double, std::size_t>> sizes;
    for (std::int64_t i = 0; i < neurons; ++i) {
      const double g = dot(token, row(ffn.gate, i)), u = dot(token, row(ffn.up, i));
      sizes.push_back({-std::abs(g / (1 + std::exp(-g)) * u), static_cast<std::size_t>(i)});
    }
    std::sort(sizes.begin(), sizes.end());
    for (int k = 0; k < top; ++k)
      out.marks[sizes[static_cast<std::size_t>(k)].second][static_cast<std::size_t>(t)] = 1;
  }
  std::vector<std::int32_t> order(static_cast<std::size_t>(neurons));
  std::iota(order.begin(), order.end(), 0);
  const auto count = [&](std::int32_t i) {
    const auto& m = out.marks[static_cast<std::size_t>(i)];
    return std::accumulate(m.begin(), m.end(), 0);
  };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return count(a) > count(b); });
  out.shared.assign(order.begin(), order.begin() + shared);
  out.seeds.assign(order.begin() + shared, order.begin() + shared + experts);
  std::sort(out.shared.begin(), out.shared.end());
  return out;
}

TEST(CmoeAsPublished, IsWhatAPlainReferenceSays) {
  const LayerEvidence e = random_evidence(26, 60);
  const RoutedLayer shape = shape_of(8, {6, 6, 6}, 2);
  const CarvedLayer got = carve_as_published(e, shape, 4);
  const Published want = published_reference(e.ffn, e.inputs, 4, 8, 3);
  EXPECT_TRUE(std::equal(want.shared.begin(), want.shared.end(), got.order.begin()));
  // The clusters' total Hamming distance to the seeds is the least there is: no swap of two neurons lowers
  // it.
  const auto distance = [&](std::int32_t i, std::size_t expert) {
    const auto &a = want.marks[static_cast<std::size_t>(i)],
               &b = want.marks[static_cast<std::size_t>(want.seeds[expert])];
    int sum = 0;
    for (std::size_t t = 0; t < a.size(); ++t) sum += a[t] != b[t];
    return sum;
  };
  const auto expert_of = [&](std::size_t place) { return (place - 8) / 6; };
  for (std::size_t p = 8; p < 26; ++p)
    for (std::size_t q = p + 1; q < 26; ++q)
      EXPECT_LE(distance(got.order[p], expert_of(p)) + distance(got.order[q], expert_of(q)),
                distance(got.order[p], expert_of(q)) + distance(got.order[q], expert_of(p)));
  // The router of each expert is the unit rows of the member nearest to the members' mean marks.
  for (std::size_t expert = 0; expert < 3; ++expert) {
    std::vector<double> mean(60, 0.0);
    for (std::size_t m = 0; m < 6; ++m)
      for (std::size_t t = 0; t < 60; ++t)
        mean[t] += want.marks[static_cast<std::size_t>(got.order[8 + 6 * expert + m])][t] / 6.0;
    double least = 1e9;
    std::int32_t best = -1;
    for (std::size_t m = 0; m < 6; ++m) {
      const std::int32_t i = got.order[8 + 6 * expert + m];
      double sum = 0;
      for (std::size_t t = 0; t < 60; ++t)
        sum += std::abs(want.marks[static_cast<std::size_t>(i)][t] - mean[t]);
      if (sum < least - 1e-5) {  // the published tie goes to the lower neuron
        least = sum;
        best = i;
      }
    }
    const at::Tensor row = e.ffn.gate[best].to(at::kDouble);
    EXPECT_LT(
        (got.router.gate[static_cast<std::int64_t>(expert)] - row / row.norm()).abs().max().item<double>(),
        1e-6);
  }
  EXPECT_EQ(got.stand_ins.abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace lacuna::test
