// Carving as a recipe: the parent's function with all experts on, equal index sets under every layout, a
// child that trains alike under every layout, the published algorithm against a plain one, files and
// refusals.
#include "recipes/cmoe/cmoe.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "parallel/run/local_communicator.h"
#include "recipes/cmoe/calib_file.h"
#include "recipes/cmoe/compat.h"
#include "recipes/cmoe/report.h"
#include "src/base/error.h"
#include "src/base/rng.h"
#include "tests/support/test_data.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

ModelConfig parent_model() {
  ModelConfig config = small_model();
  config.layers = 3;
  return config;
}

const GlobalTensors& parent_tensors() {
  static const GlobalTensors tensors = run_layout(small_options(1, 1, 1), 3, parent_model()).weights;
  return tensors;
}

SlabSource parent_source() {
  return [](const std::string& name, const Slab& slab, DType dtype, void* dst) {
    const std::vector<double>& whole = parent_tensors().at(name);
    const bool matrix = slab.extent.size() > 1;
    std::int64_t cols = 1;
    for (const Parameter& p : parameters(parent_model()))
      if (p.name == name && matrix) cols = p.shape[1];
    std::size_t to = 0;
    for (std::int64_t r = 0; r < slab.extent[0]; ++r)
      for (std::int64_t c = 0; c < (matrix ? slab.extent[1] : 1); ++c) {
        const auto at =
            static_cast<std::size_t>((slab.offset[0] + r) * cols + (matrix ? slab.offset[1] : 0) + c);
        if (dtype == DType::F64)
          static_cast<double*>(dst)[to++] = whole[at];
        else
          static_cast<float*>(dst)[to++] = static_cast<float>(whole[at]);
      }
  };
}

using Settings = std::map<std::string, std::string>;

std::unique_ptr<Recipe> recipe_with(const Settings& settings) {
  std::unique_ptr<Recipe> recipe = find_recipe("cmoe").make();
  Settings left = settings;
  for (FieldRef& field : recipe->fields())
    if (const auto found = left.find(field.name); found != left.end()) {
      field.set(found->second);
      left.erase(found);
    }
  EXPECT_TRUE(left.empty());
  return recipe;
}

const Settings kSmall = {{"cmoe.experts", "8"},       {"cmoe.shared", "2"},
                         {"cmoe.active", "2"},        {"cmoe.top", "5"},
                         {"cmoe.check-tokens", "64"}, {"cmoe.calibration-tokens", "128"}};

Settings with(Settings more) {
  more.insert(kSmall.begin(), kSmall.end());
  return more;
}

struct Outcome {
  GlobalTensors weights;  // of the child before its first step
  double loss = 0, all_on = 0, parent = 0;
  std::vector<double> losses;  // of training steps
};

Outcome carve(const TrainOptions& options, const Settings& settings, int steps = 0) {
  Outcome out;
  std::mutex mutex;
  parent_tensors();
  run_local(options.pp * options.tp * options.dp, [&](Communicator& world, int rank) {
    Progress progress;
    ParallelContext context(world, {options.pp, options.tp, options.dp}, progress);
    const std::unique_ptr<Recipe> recipe = recipe_with(settings);
    const ModelConfig parent = parent_model();
    const MadeUpBatches batches(options, parent.vocab, context.place.dp);
    CalibrationRun calibration(context, options, batches, parent, parent_source(), "made-up tokens");
    recipe->calibrate(calibration);
    const ModelConfig config = recipe->rewrite(parent);
    const auto loss_of = [&](const ModelConfig& model, const SlabSource& weights) {
      ModelRunner runner(context, options, model);
      runner.load(weights, false);
      const double loss = runner.evaluate(batches.validation(8)).loss;
      runner.close();
      return loss;
    };
    ModelConfig everything = config;
    everything.routed.active = {everything.routed.experts};
    everything.routed.threshold = false;  // which would switch on by score
    const double parent_loss = loss_of(parent, parent_source());
    const double all_on = loss_of(everything, recipe->rewrite_weights(parent_source()));
    ModelRunner child(context, options, config);
    child.load(recipe->rewrite_weights(parent_source()), false);
    {
      const std::lock_guard lock(mutex);
      for (const OwnedPart& part : child.optimizer().owned_parts()) {
        if (!part.writes || part.parameter->spec.layer < 0 || part.slab.elements() == 0) continue;
        const Parameter& spec = part.parameter->spec;
        std::vector<double>& whole = out.weights[spec.name];
        whole.resize(static_cast<std::size_t>(spec.elements()));
        const at::Tensor rows = part.master.cpu().contiguous();
        const double* from = rows.const_data_ptr<double>();
        const std::int64_t cols = spec.shape.size() > 1 ? spec.shape[1] : 1;
        const std::int64_t width = spec.shape.size() > 1 ? part.slab.extent[1] : 1;
        const std::int64_t left = spec.shape.size() > 1 ? part.slab.offset[1] : 0;
        for (std::int64_t r = 0; r < part.slab.extent[0]; ++r)
          std::copy_n(from + r * width, width, whole.begin() + (part.slab.offset[0] + r) * cols + left);
      }
    }
    const double loss = child.evaluate(batches.validation(8)).loss;
    for (int step = 0; step < steps; ++step) {
      const StepNumbers numbers = child.accumulate(batches.train(step % 2), {});
      child.update(1e-3, 1, numbers.grad_norm, step + 1);
      if (rank == 0) out.losses.push_back(numbers.loss);
    }
    child.close();
    if (rank == 0) {
      out.loss = loss;
      out.parent = parent_loss;
      out.all_on = all_on;
    }
  });
  return out;
}

bool is_reordered(const std::string& name) {
  return name.find("mlp.gate_proj") != std::string::npos || name.find("mlp.down_proj") != std::string::npos;
}

TEST(Cmoe, WithAllExpertsOnItIsTheParent) {
  const Outcome got = carve(small_options(1, 1, 1), kSmall);
  EXPECT_NEAR(got.all_on, got.parent, 1e-13 * got.parent);  // sums over neurons in another order
  EXPECT_GT(std::abs(got.loss - got.parent), 1e-6);         // and with some off it is not
  int moved = 0;
  for (const auto& [name, values] : got.weights)
    if (is_reordered(name)) moved += values != parent_tensors().at(name);
  EXPECT_EQ(moved, 6);  // gate and down of three layers
}

TEST(Cmoe, EveryLayoutGivesTheSameIndexSetsAndTrainsAlike) {
  const Outcome one = carve(small_options(1, 1, 1), kSmall, 20);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const auto& [pp, tp, dp] :
       {std::tuple{3, 1, 1}, std::tuple{1, 2, 1}, std::tuple{1, 1, 2}, std::tuple{2, 2, 2}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {}", pp, tp, dp));
    const Outcome other = carve(small_options(pp, tp, dp), kSmall, 20);
    for (const auto& [name, values] : one.weights) {
      ASSERT_EQ(other.weights.at(name).size(), values.size()) << name;
      if (is_reordered(name)) {  // the same neurons, everywhere
        EXPECT_EQ(other.weights.at(name), values) << name;
      }
    }
    // Inputs are rounded to single precision before anything is fitted to them: router and means differ by
    // what an input that rounds the other way changes.
    EXPECT_LT(largest_difference(other.weights, one.weights), 1e-5);
    for (std::size_t step = 0; step < one.losses.size(); ++step)
      EXPECT_NEAR(other.losses[step], one.losses[step], 1e-6 * one.losses[step]) << step;
  }
}

TEST(Cmoe, TheCarvedTrajectoryIsTheSameUnderPipelineStages) {
  const Settings settings = with({{"cmoe.trajectory", "carved"}, {"cmoe.compat", "yes"}});
  const Outcome one = carve(small_options(1, 1, 1), settings),
                three = carve(small_options(3, 1, 1), settings);
  EXPECT_NEAR(one.all_on, one.parent, 1e-13 * one.parent);
  EXPECT_TRUE(same_bits(one.weights, three.weights));
  EXPECT_EQ(one.loss, three.loss);
}

TEST(Cmoe, InOrderTheFirstLayerSeesTheParentAndLaterOnesDoNot) {
  const Outcome dense = carve(small_options(1, 1, 1), kSmall);
  const Outcome carved = carve(small_options(1, 1, 1), with({{"cmoe.trajectory", "carved"}}));
  const auto router = [](const Outcome& from, int layer) {
    return from.weights.at("model.layers." + std::to_string(layer) + ".mlp.router.weight");
  };
  // Before the first layer is carved, all experts of all layers are on: the parent, but for the order of
  // sums.
  for (std::size_t i = 0; i < router(dense, 0).size(); ++i)
    EXPECT_NEAR(router(carved, 0)[i], router(dense, 0)[i], 1e-6);
  EXPECT_NE(router(carved, 2), router(dense, 2));
}

TEST(Cmoe, RoutersAndControlsAllRun) {
  const double parent = carve(small_options(1, 1, 1), kSmall).parent;
  for (const char* router : {"lowrank", "rep", "oracle", "random"})
    EXPECT_NEAR(carve(small_options(1, 1, 1), with({{"cmoe.router", router}, {"cmoe.rank", "2"}})).all_on,
                parent, 1e-12 * parent)
        << router;
  const double none = carve(small_options(1, 1, 1), with({{"cmoe.router", "none"}})).loss;
  EXPECT_GT(std::abs(none - parent), 1e-6);
  const double kept = carve(small_options(1, 1, 1), with({{"cmoe.static", "heapr"}})).loss;
  EXPECT_TRUE(std::isfinite(kept));
}

// ---- the published algorithm, written down a second time over plain vectors

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

at::Tensor random_matrix(std::int64_t rows, std::int64_t cols, const std::string& name) {
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  const std::uint64_t key = rng_key(23, name);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(rng_normal(key, static_cast<std::uint64_t>(i)));
  return out;
}

LayerEvidence random_evidence(std::int64_t neurons, std::int64_t tokens) {
  LayerEvidence e;
  e.ffn = {random_matrix(neurons, 10, "gate"), random_matrix(neurons, 10, "up"),
           random_matrix(10, neurons, "down"), Activation::Silu};
  const at::Tensor x = random_matrix(tokens + 16, 10, "inputs");
  e.inputs = x.narrow(0, 0, tokens);
  e.check_inputs = x.narrow(0, tokens, 16);
  e.statistics = neuron_statistics(e.ffn, e.inputs, 3);
  return e;
}

RoutedLayer shape_of(std::int64_t shared, std::vector<std::int64_t> sizes, std::int64_t active) {
  RoutedLayer shape;
  shape.shared = shared;
  shape.active = active;
  shape.begin = {shared};
  for (const std::int64_t size : sizes) shape.begin.push_back(shape.begin.back() + size);
  return shape;
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

TEST(CarveLayer, UnevenExpertsAndGuardedNeurons) {
  LayerEvidence e = random_evidence(26, 60);
  e.super_neurons = {25, 3};
  CmoeOptions options;
  options.shared_by = NeuronScore::Rate;
  options.threshold = false;
  const RoutedLayer shape = shape_of(4, {9, 8, 5}, 1);
  std::vector<std::int32_t> order = carve_order(e, shape, options);
  EXPECT_EQ(std::count(order.begin(), order.begin() + 4, 3), 1);
  EXPECT_EQ(std::count(order.begin(), order.begin() + 4, 25), 1);
  EXPECT_TRUE(std::is_sorted(order.begin() + 4, order.begin() + 13));
  const CarvedLayer carved = fit_experts(e, shape, order, RouterKind::Linear, options);
  EXPECT_EQ(carved.router.weight.size(0), 3);
  EXPECT_GT(carved.quality.lost, carved.quality.lost_oracle - 1e-12);
  EXPECT_NEAR(carved.quality.chance, 1.0 / 3, 1e-12);
  std::sort(order.begin(), order.end());
  for (std::int32_t i = 0; i < 26; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  // Across ranks as bytes, nothing is lost.
  const CarvedLayer again = CarvedLayer::from_bytes(carved.to_bytes());
  EXPECT_EQ(again.order, carved.order);
  EXPECT_TRUE(at::equal(again.router.weight, carved.router.weight));
  EXPECT_TRUE(at::equal(again.stand_ins, carved.stand_ins));
  EXPECT_FALSE(again.router.gate.defined());
  EXPECT_EQ(again.quality.lost, carved.quality.lost);
}

TEST(CalibFile, RoundTripsAndRefusesOtherModelsAndData) {
  const TempFolder folder;
  const LayerEvidence e = random_evidence(26, 60);
  CalibLayer layer{2, 16, fingerprint_of(e.ffn), "40 tokens of here", e.inputs, {}};
  const std::string path = folder / "calib-0002.h5";
  write_calib(path, layer, e.statistics);
  const CalibLayer read = read_calib(path, layer);
  EXPECT_TRUE(at::equal(read.inputs, e.inputs));
  EXPECT_EQ(read.check_tokens, 16);
  EXPECT_FALSE(read.output_moment.defined());
  const auto message = [&](const CalibLayer& expected) {
    try {
      read_calib(path, expected);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  CalibLayer other = layer;
  other.data = "41 tokens of there";
  EXPECT_NE(message(other).find("another calibration"), std::string::npos);
  FfnWeights changed = e.ffn;
  changed.up = changed.up + 1;
  other = layer;
  other.weights = fingerprint_of(changed);
  EXPECT_NE(message(other).find("another model"), std::string::npos);
}

TEST(Cmoe, StatisticsFilesGiveTheSameModelWithoutAPass) {
  const TempFolder folder;
  const Settings settings = with({{"cmoe.statistics", folder / "calib"}});
  const Outcome first = carve(small_options(2, 1, 1), settings),
                again = carve(small_options(1, 1, 1), settings);
  EXPECT_TRUE(same_bits(first.weights, again.weights));
}

TEST(Cmoe, RefusesSettingsThatDoNotFit) {
  const auto problems = [](const Settings& settings) {
    std::string all;
    for (const std::string& line : recipe_with(settings)->problems()) all += line + "\n";
    return all;
  };
  EXPECT_EQ(problems(kSmall), "");
  EXPECT_NE(problems({{"cmoe.shared", "8"}}).find("--shared is 8"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.router", "best"}}).find("'best'"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.compat", "yes"}, {"cmoe.static", "rate"}}).find("exclude"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.report", "yes"}}).find("--texts"), std::string::npos);
  ModelConfig parent = parent_model();
  EXPECT_THROW(recipe_with({{"cmoe.experts", "49"}})->rewrite(parent), Error);
  parent.routed = recipe_with(kSmall)->rewrite(parent).routed;
  EXPECT_THROW(recipe_with(kSmall)->rewrite(parent), Error);  // experts of experts
}

TEST(CarvingReport, DividendAndShareAreAgainstTheBestStaticModel) {
  const auto score = [](const char* name, double nll) {
    return VariantScore{name, {nll, nll + 1}, {3, 3}, {0.25, 0.35}};
  };
  CmoeOptions options;
  options.texts = {"a.h5", "b.h5"};
  const Json report =
      carving_report({score("dense", 2), score("static rate", 2.9), score("static flap + means", 2.6),
                      score("routed linear", 2.3), score("routed random", 3), score("routed oracle", 2.2)},
                     options, "routed linear", {RoutingQuality{0.5, 0.1, 0.3, 0.2, 0.4, 3, 1.2}});
  EXPECT_EQ(report["best_static"], "static flap + means");
  EXPECT_NEAR(report["dividend"].get<double>(), 0.3, 1e-12);
  EXPECT_NEAR(report["share"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(report["models"][3]["ratio"].get<double>(), std::exp(0.3), 1e-12);
  EXPECT_NEAR(report["models"][3]["off"].get<double>(), 0.3, 1e-12);
  const std::string table = carving_table(report);
  EXPECT_NE(table.find("75 % of the oracle's 0.4000"), std::string::npos);
  EXPECT_NE(table.find("(chance 10.0 %)"), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
