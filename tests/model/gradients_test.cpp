// Every hand-written gradient against autograd through an independent forward, and against central
// differences of the loss, in fp64.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/rng.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

struct Case {
  std::string name;
  Problem problem;
};

Problem with(const std::function<void(Problem&)>& change) {
  Problem out;
  change(out);
  return out;
}

// One change each from the small model, and mixtures.
std::vector<Case> cases() {
  std::vector<Case> out;
  const auto add = [&](const std::string& name, const std::function<void(Problem&)>& change) {
    out.push_back({name, with(change)});
  };
  add("plain", [](Problem&) {});
  for (Activation activation : {Activation::Relu, Activation::Drelu})
    add(name_of(activation), [=](Problem& p) { p.config.activation = activation; });
  add("one_group", [](Problem& p) { p.config.kv_heads = 4; });
  add("four_groups", [](Problem& p) { p.config.kv_heads = 1; });
  add("head_size_10", [](Problem& p) { p.config.head_dim = 10; });
  add("qkv_bias", [](Problem& p) { p.config.qkv_bias = true; });
  add("qk_norm", [](Problem& p) { p.config.qk_norm = true; });
  add("tied", [](Problem& p) { p.config.tied_embeddings = true; });
  add("one_token", [](Problem& p) { p.shape = {1, 1, 1, DType::F64}; });
  add("seq_16", [](Problem& p) { p.shape = {3, 16, 1, DType::F64}; });
  add("several_tiles", [](Problem& p) { p.shape = {1, 150, 1, DType::F64}; });
  add("window", [](Problem& p) { p.config.sliding_window = 3; });
  add("window_over_tiles", [](Problem& p) {
    p.config.sliding_window = 70;
    p.shape = {1, 150, 1, DType::F64};
  });
  add("rope_linear", [](Problem& p) { p.config.rope_scaling = {.kind = "linear", .factor = 4}; });
  add("rope_llama3", [](Problem& p) {
    p.config.head_dim = 16;
    p.config.rope_theta = 100;  // wavelengths on both sides of the passage and inside it
    p.config.rope_scaling = {"llama3", 8, 1, 4, 64};
    p.shape = {1, 16, 1, DType::F64};
  });
  add("l1_silu", [](Problem& p) { p.l1 = 0.7; });
  add("l1_drelu", [](Problem& p) {
    p.l1 = 0.7;
    p.config.activation = Activation::Drelu;
  });
  add("l1_knee", [](Problem& p) {
    p.l1 = 0.7;
    p.l1_knee = 0.05;
    p.config.activation = Activation::Drelu;
  });
  add("two_stages", [](Problem& p) { p.cuts = {{0, 1}, {1, 2}}; });
  add("everything", [](Problem& p) {
    p.config.qkv_bias = p.config.qk_norm = p.config.tied_embeddings = true;
    p.config.activation = Activation::Drelu;
    p.config.sliding_window = 9;
    p.config.layers = 3;
    p.shape = {2, 16, 1, DType::F64};
    p.micros = 3;
    p.l1 = 0.1;
    p.cuts = {{0, 1}, {1, 3}};
  });
  return out;
}

TEST(Gradients, EqualAutogradThroughAnIndependentForward) {
  at::set_num_threads(1);
  for (const Case& one : cases()) {
    const Outcome ours = run_llama(one.problem), oracle = run_autograd(one.problem);
    std::string worst;
    EXPECT_LE(worst_difference(ours, oracle, &worst), 1e-10) << one.name << ": " << worst;
    for (std::size_t i = 0; i < ours.losses.size(); ++i)
      EXPECT_NEAR(ours.losses[i], oracle.losses[i], 1e-12 * std::abs(oracle.losses[i])) << one.name;
    for (const auto& [name, grad] : ours.grads)
      EXPECT_GT(grad.abs().max().item<double>(), 0) << one.name << ": no gradient at all for " << name;
  }
}

// The objective: mean loss plus penalty, as StepBatch defines them.
double objective(LlamaStage& stage, const Problem& problem) {
  const Outcome out = run_llama(stage, problem);
  const StepBatch batch = problem.batch();
  double sum = 0;
  for (double loss : out.losses) sum += loss * batch.loss_scale;
  for (const FfnCounts& counts : stage.ffn_counts())
    sum += batch.l1 * counts.l1 /
           (static_cast<double>(batch.global_tokens) * static_cast<double>(problem.config.layers));
  return sum;
}

void move(ParameterStore& store, double step) {
  for (LocalParameter& p : store.all())
    if (!p.tied_copy) {
      at::Tensor direction = at::empty_like(p.weight);
      const std::uint64_t key = rng_key(99, p.spec.name);
      double* d = direction.data_ptr<double>();
      for (std::int64_t i = 0; i < direction.numel(); ++i)
        d[i] = rng_normal(key, static_cast<std::uint64_t>(i));
      p.weight.add_(direction, step);
    }
}

double slope_by_gradient(ParameterStore& store, const Outcome& out) {
  double sum = 0;
  for (const LocalParameter& p : store.all()) {
    const std::uint64_t key = rng_key(99, p.spec.name);
    const at::Tensor grad = out.grads.at(p.spec.name + (p.tied_copy ? " (tied)" : ""));
    const double* g = grad.const_data_ptr<double>();
    for (std::int64_t i = 0; i < grad.numel(); ++i)
      sum += g[i] * rng_normal(key, static_cast<std::uint64_t>(i));
  }
  return sum;
}

// D(h) = slope + c·h² + rounding: two steps give an estimate of c·h², and each D carries at most about
// 100 roundings of the objective over h.
TEST(Gradients, EqualCentralDifferences) {
  at::set_num_threads(1);
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
    const Problem problem = with([&](Problem& p) {
      p.config.activation = activation;
      p.config.qkv_bias = p.config.qk_norm = p.config.tied_embeddings = true;
      p.l1 = 0.5;
    });
    LlamaStage stage(problem.options());
    stage.parameters().initialise(3);
    enliven(stage.parameters());
    const double slope = slope_by_gradient(stage.parameters(), run_llama(stage, problem));
    const double value = objective(stage, problem);
    const auto difference = [&](double h) {
      move(stage.parameters(), h);
      const double above = objective(stage, problem);
      move(stage.parameters(), -2 * h);
      const double below = objective(stage, problem);
      move(stage.parameters(), h);
      return (above - below) / (2 * h);
    };
    const double h = 1e-6, one = difference(h), two = difference(2 * h);
    const double bound = std::abs(two - one) + 100 * 2.2e-16 * std::abs(value) / h;
    EXPECT_NEAR(one, slope, bound) << name_of(activation);
    EXPECT_LT(bound, 1e-5 * std::abs(slope)) << name_of(activation) << ": the bound proves nothing";
  }
}

}  // namespace
}  // namespace lacuna::test
