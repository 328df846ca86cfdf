// Partition, what experts put out, and routers, each against plain computations or inputs with a known
// answer.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "recipes/common/expert_outputs.h"
#include "recipes/common/neuron_scores.h"
#include "recipes/common/partition.h"
#include "recipes/common/router_fit.h"
#include "recipes/common/super_neurons.h"
#include "src/base/error.h"
#include "src/base/rng.h"

namespace lacuna::test {
namespace {

at::Tensor normal(std::vector<std::int64_t> shape, const std::string& name, double std = 1) {
  at::Tensor out = at::empty(shape, at::kFloat);
  const std::uint64_t key = rng_key(9, name);
  float* to = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i)
    to[i] = static_cast<float>(std * rng_normal(key, static_cast<std::uint64_t>(i)));
  return out;
}

constexpr std::int64_t kHidden = 12, kNeurons = 30, kTokens = 500;

FfnWeights ffn(Activation activation = Activation::Silu) {
  return {normal({kNeurons, kHidden}, "gate"), normal({kNeurons, kHidden}, "up"),
          normal({kHidden, kNeurons}, "down"), activation};
}
at::Tensor inputs() {
  return normal({kTokens, kHidden}, "x");
}

std::vector<std::int32_t> all_neurons() {
  std::vector<std::int32_t> out(kNeurons);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

TEST(NeuronStatistics, AreThoseOfPlainSums) {
  const FfnWeights weights = ffn();
  const at::Tensor x = inputs(),
                   h = (at::silu(at::matmul(x, weights.gate.t())) * at::matmul(x, weights.up.t()));
  const NeuronStatistics s = neuron_statistics(weights, x, 4);
  const at::Tensor wide = h.to(at::kDouble);
  EXPECT_LT((s.mean - wide.mean(0)).abs().max().item<double>(), 1e-6);
  EXPECT_LT((s.second - wide.square().mean(0)).abs().max().item<double>(), 1e-5);
  const at::Tensor xd = x.to(at::kDouble);
  EXPECT_LT((s.input_second - at::matmul(xd.t(), xd) / kTokens).abs().max().item<double>(), 1e-12);
  std::vector<std::int64_t> counts(kNeurons, 0);
  for (std::int64_t t = 0; t < kTokens; ++t)
    for (std::int64_t i = 0; i < kNeurons; ++i) {
      int larger = 0;
      for (std::int64_t j = 0; j < kNeurons; ++j)
        larger += h[t][j].abs().item<float>() > h[t][i].abs().item<float>();
      counts[static_cast<std::size_t>(i)] += larger < 4;
      if (t == 7) {
        const bool listed = s.top_neurons[t].eq(i).any().item<bool>();
        EXPECT_EQ(listed, larger < 4) << i;
      }
    }
  for (std::int64_t i = 0; i < kNeurons; ++i)
    EXPECT_EQ(s.counts[i].item<std::int64_t>(), counts[static_cast<std::size_t>(i)]);
  EXPECT_DOUBLE_EQ(s.rate(3), static_cast<double>(counts[3]) / kTokens);
  // Two neurons fire together where both are listed; with itself, a neuron's count.
  const at::Tensor together = coactivation(s, {3, 5}, {3, 8});
  EXPECT_EQ(together[0][0].item<std::int64_t>(), counts[3]);
  const at::Tensor marks = marks_of(s, all_neurons());
  EXPECT_EQ(together[1][1].item<std::int64_t>(), (marks[5] * marks[8]).sum().item<std::int64_t>());
  EXPECT_THROW(neuron_statistics(weights, x, kNeurons + 1), Error);
}

TEST(NeuronStatistics, OfUnitProductsDependOnDirectionsAlone) {
  FfnWeights scaled = ffn();
  const at::Tensor x = inputs();
  const NeuronStatistics before = neuron_statistics(scaled, x, 4, true);
  scaled.gate = scaled.gate * 3;
  scaled.up = scaled.up * normal({kNeurons, 1}, "scale").abs().add(0.1);
  const NeuronStatistics after = neuron_statistics(scaled, x * 5, 4, true);
  EXPECT_LT((before.mean - after.mean).abs().max().item<double>(), 1e-6);
}

TEST(NeuronScores, AreTheFormulasOfTheirPapers) {
  const FfnWeights weights = ffn();
  const NeuronStatistics s = neuron_statistics(weights, inputs(), 4);
  const at::Tensor d = weights.down.to(at::kDouble);
  const at::Tensor root = normal({kHidden, kHidden}, "moment").to(at::kDouble);
  const at::Tensor moment = at::matmul(root, root.t());
  const auto score = [&](NeuronScore which) { return neuron_scores(which, weights, s, moment); };
  for (std::int64_t i : {0, 13, 29}) {
    const double size = d.select(1, i).square().sum().item<double>();
    const double second = s.second[i].item<double>(), mean = s.mean[i].item<double>();
    EXPECT_DOUBLE_EQ(score(NeuronScore::Rate)[i].item<double>(), s.rate(i));
    EXPECT_NEAR(score(NeuronScore::Energy)[i].item<double>(), second * size, 1e-12 * second * size);
    EXPECT_NEAR(score(NeuronScore::Flap)[i].item<double>(), (second - mean * mean) * size,
                1e-12 * second * size);
    const double through = at::dot(d.select(1, i), at::mv(moment, d.select(1, i))).item<double>();
    EXPECT_NEAR(score(NeuronScore::Heapr)[i].item<double>(), second * through, 1e-11 * second * through);
  }
  EXPECT_EQ(by_score(at::tensor({1.0, 5.0, 1.0, 7.0, 5.0}, at::kDouble)),
            (std::vector<std::int32_t>{3, 1, 4, 0, 2}));
}

TEST(SuperNeurons, AreThoseAboveBothMarksAndTheLastQuarterOfLayersDoesNotSetThem) {
  // 4 layers of 250: the first three set the marks (750 peaks; the 99.5th percentile leaves 3 above).
  std::vector<std::vector<double>> peaks(4, std::vector<double>(250, 1.0));
  peaks[0][7] = 100;
  peaks[1][8] = 50;
  peaks[2][9] = 9;      // above the percentile, not above a tenth of the greatest
  peaks[3][10] = 1000;  // super, but it does not move the marks
  const auto found = super_neurons(peaks);
  EXPECT_EQ(found[0], std::vector<std::int32_t>{7});
  EXPECT_EQ(found[1], std::vector<std::int32_t>{8});
  EXPECT_TRUE(found[2].empty());
  EXPECT_EQ(found[3], std::vector<std::int32_t>{10});
  EXPECT_TRUE(super_neurons({}).empty());
}

TEST(Partition, FindsClustersThatAreThereWithTheSizesItIsGiven) {
  // Three groups of 9, 6 and 4 rows around far directions, shuffled.
  const std::vector<std::int64_t> sizes = {9, 6, 4};
  std::vector<int> group;
  for (int g = 0; g < 3; ++g)
    group.insert(group.end(), static_cast<std::size_t>(sizes[static_cast<std::size_t>(g)]), g);
  for (std::size_t i = group.size(); i-- > 1;) std::swap(group[i], group[rng_below(5, i, i + 1)]);
  at::Tensor rows = normal({19, 40}, "noise", 0.02);
  for (std::int64_t i = 0; i < 19; ++i) rows[i][group[static_cast<std::size_t>(i)]] += 1;
  rows /= at::linalg_vector_norm(rows, 2, at::IntArrayRef({1}), true);
  const Clusters got = balanced_clusters(rows, sizes, {20, 8, 1});
  for (std::size_t i = 0; i < group.size(); ++i) EXPECT_EQ(got.of[i], group[i]) << i;
  EXPECT_LT(got.cost, 1.0);
  EXPECT_EQ(balanced_clusters(rows, sizes, {20, 8, 1}).of, got.of);
  EXPECT_LE(got.cost, balanced_clusters(rows, sizes, {20, 1, 1}).cost);  // of several starts the best
  EXPECT_THROW(balanced_clusters(rows, {9, 9}, {}), Error);
}

TEST(Partition, ProfilesHaveLengthOneAndDoNotSeeTheSizeOfANeuron) {
  FfnWeights weights = ffn();
  const at::Tensor x = inputs();
  const std::vector<std::int32_t> list = {2, 17, 29};
  const at::Tensor before = contribution_profiles(weights, x, list);
  const at::Tensor lengths = at::linalg_vector_norm(before, 2, at::IntArrayRef({1}));
  EXPECT_LT((lengths - 1).abs().max().item<double>(), 1e-6);
  weights.up[17] *= 40;
  EXPECT_LT((contribution_profiles(weights, x, list) - before).abs().max().item<double>(), 1e-6);
}

struct Experts {
  FfnWeights weights = ffn();
  at::Tensor x = inputs();
  std::vector<std::int64_t> begin = {6, 14, 19, 30};  // six shared neurons
  ExpertOutputs outputs{weights, begin, x};

  at::Tensor output(std::int64_t e) const {
    const std::int64_t first = begin[static_cast<std::size_t>(e)],
                       count = begin[static_cast<std::size_t>(e) + 1] - first;
    const at::Tensor h = weights.products(x).narrow(1, first, count);
    return at::matmul(h, weights.down.narrow(1, first, count).t()).to(at::kDouble);
  }
};

TEST(ExpertOutputs, ContributionsAreTheNormsOfWhatIsLost) {
  const Experts e;
  const at::Tensor means = e.outputs.mean_outputs();
  const at::Tensor got = e.outputs.contributions(means);
  for (std::int64_t expert = 0; expert < 3; ++expert) {
    const at::Tensor y = e.output(expert);
    EXPECT_LT((means[expert] - y.mean(0)).abs().max().item<double>(), 1e-5);
    const at::Tensor want = at::linalg_vector_norm(y - y.mean(0), 2, at::IntArrayRef({1}));
    EXPECT_LT(((got.select(1, expert) - want).abs() / want.mean()).max().item<double>(), 1e-4);
  }
}

TEST(ExpertOutputs, StandInsAreTheLeastSquaresAndBetterThanMeans) {
  const Experts e;
  const at::Tensor on = largest(e.outputs.contributions(e.outputs.mean_outputs()), 1);
  const at::Tensor off = at::logical_not(on).to(at::kDouble);
  const auto loss = [&](const at::Tensor& stand_ins) {
    at::Tensor rest = at::zeros({kTokens, kHidden}, at::kDouble);
    for (std::int64_t expert = 0; expert < 3; ++expert)
      rest += off.select(1, expert).unsqueeze(1) * (e.output(expert) - stand_ins[expert]);
    const double pull = 1e-3 * kTokens;  // the pull to the means is part of what is minimised
    return rest.square().sum().item<double>() +
           pull * (stand_ins - e.outputs.mean_outputs()).square().sum().item<double>();
  };
  const at::Tensor best = e.outputs.stand_ins(on);
  const double least = loss(best);
  EXPECT_LT(least, 0.999 * loss(e.outputs.mean_outputs()));
  for (int direction = 0; direction < 6; ++direction) {
    const at::Tensor step = normal({3, kHidden}, "step " + std::to_string(direction), 0.1).to(at::kDouble);
    EXPECT_GT(loss(best + step), least);
    EXPECT_GT(loss(best - step), least);
  }
  const at::Tensor everything = at::ones({kTokens, 3}, at::kBool);  // nothing is ever off: the means
  EXPECT_LT((e.outputs.stand_ins(everything) - e.outputs.mean_outputs()).abs().max().item<double>(), 1e-12);
}

TEST(ExpertOutputs, LargestTakesTheLowerIndexAmongEquals) {
  const at::Tensor scores = at::tensor({1., 3., 3., 2., 3., 0.}, at::kDouble).reshape({2, 3});
  const at::Tensor want = at::tensor({0., 1., 0., 0., 1., 0.}, at::kDouble).reshape({2, 3}).to(at::kBool);
  EXPECT_TRUE(at::equal(largest(scores, 1), want));
  EXPECT_EQ(largest(scores, 0).sum().item<std::int64_t>(), 0);
  EXPECT_EQ(largest(scores, 3).sum().item<std::int64_t>(), 6);
}

TEST(RouterFit, ALinearTargetIsFoundAndALineFitsBestThere) {
  const Experts e;
  const NeuronStatistics s = neuron_statistics(e.weights, e.x, 4);
  const at::Tensor truth = normal({3, kHidden}, "truth").to(at::kDouble);
  const at::Tensor target = at::matmul(e.x.to(at::kDouble), truth.t()) + 2.5;
  const Router router = fit_linear(RidgeRegression(s, e.x, 1e-9), target);
  EXPECT_LT((router.weight - truth).abs().max().item<double>(), 1e-4);
  EXPECT_LT((router.bias - 2.5).abs().max().item<double>(), 1e-4);
  EXPECT_LT((choosing_scores(router, e.x, Activation::Silu) - target).abs().max().item<double>(), 1e-3);
}

double squared_error(const Router& router, const Experts& e, const at::Tensor& target) {
  return (choosing_scores(router, e.x, e.weights.activation) - target).square().sum().item<double>();
}

TEST(RouterFit, RicherFormsFitContributionsBetter) {
  const Experts e;
  const NeuronStatistics s = neuron_statistics(e.weights, e.x, 4);
  const at::Tensor target = e.outputs.contributions(e.outputs.mean_outputs());
  const double constant = (target - target.mean(0)).square().sum().item<double>();
  const double linear = squared_error(fit_linear(RidgeRegression(s, e.x, 1e-6), target), e, target);
  const double neuron = squared_error(fit_neuron(e.outputs, target, e.weights, e.begin), e, target);
  EXPECT_LT(linear, constant);
  EXPECT_LT(neuron, constant);
  double before = linear;
  for (const std::int64_t rank : {1, 4}) {
    const double error = squared_error(
        fit_low_rank(RidgeRegression(s, e.x, 1e-6), s, target, e.weights, e.begin, rank), e, target);
    EXPECT_LT(error, before * 1.001) << rank;
    before = error;
  }
  EXPECT_LT(before, 0.9 * linear);
  EXPECT_THROW(fit_low_rank(RidgeRegression(s, e.x, 1e-6), s, target, e.weights, e.begin, 6),
               Error);  // an expert has 5 neurons
}

TEST(RouterFit, AThresholdKeepsItsBudgetAndBalanceItsBound) {
  const Experts e;
  const NeuronStatistics s = neuron_statistics(e.weights, e.x, 4);
  Router router =
      fit_linear(RidgeRegression(s, e.x, 1e-6), e.outputs.contributions(e.outputs.mean_outputs()));
  const at::Tensor scores = choosing_scores(router, e.x, Activation::Silu);
  Router cut = router;
  set_threshold(cut, scores, 1.25);
  const double on = choosing_scores(cut, e.x, Activation::Silu).gt(0).sum().item<double>() / kTokens;
  EXPECT_NEAR(on, 1.25, 1.0 / kTokens);
  const auto busiest = [&](const Router& r) {
    const at::Tensor load = largest(choosing_scores(r, e.x, Activation::Silu), 1).to(at::kDouble).mean(0);
    return (load.max() / load.mean()).item<double>();
  };
  EXPECT_GT(busiest(router), 1.3);
  balance(router, scores, 1, 1.2);
  EXPECT_LE(busiest(router), 1.2);
}

}  // namespace
}  // namespace lacuna::test
