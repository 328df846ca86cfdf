// Routed FFNs: gradients against autograd through the reference in fp64, all experts on against the dense
// model, choices that are ties, and the choices that may change no bit.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/rng.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

constexpr RouterKind kKinds[] = {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                 RouterKind::Oracle, RouterKind::Random,  RouterKind::None};

// 20 neurons: 5 shared, then experts of 5, 4, 3 and 3.
Problem routed_problem(RouterKind kind, Activation activation = Activation::Silu) {
  Problem p;
  p.config.activation = activation;
  RoutedFfn& r = p.config.routed;
  r.experts = 4;
  r.active = {2};
  r.shared = {5};
  r.neurons = {5, 4, 3, 3};
  r.router = kind;
  if (r.has_rows()) r.rank = 2;
  r.seed = 5;
  return p;
}

// Scales off 1 and means that are felt, equal in every layout.
void stir(ParameterStore& store) {
  enliven(store);
  for (LocalParameter& p : store.all()) {
    if (p.spec.role == Role::RouterBias) p.weight[0] = -100;  // with a threshold, somebody is off
    if (p.spec.role != Role::ExpertMean) continue;
    const std::uint64_t key = rng_key(8, p.spec.name);
    p.weight.copy_(at::zeros_like(p.weight));
    for (std::int64_t e = 0; e < p.weight.size(0); ++e)
      for (std::int64_t i = 0; i < p.weight.size(1); ++i)
        p.weight[e][i] = 0.2 * rng_normal(key, static_cast<std::uint64_t>(e * p.weight.size(1) + i));
  }
}

void expect_autograd(const Problem& problem, const std::string& what) {
  LlamaStage ours(problem.options());
  AutogradStage theirs(problem.options());
  for (ParameterStore* store : {&ours.parameters(), &theirs.parameters()}) {
    store->initialise(3);
    stir(*store);
  }
  const Outcome got = run_llama(ours, problem), wanted = run_autograd(theirs, problem);
  std::string worst;
  EXPECT_LE(worst_difference(got, wanted, &worst), 1e-10) << what << ": " << worst;
  for (std::size_t i = 0; i < got.losses.size(); ++i)
    EXPECT_NEAR(got.losses[i], wanted.losses[i], 1e-12 * std::abs(wanted.losses[i])) << what;
  for (const auto& [name, grad] : got.grads) {
    if (name.ends_with("router.bias")) continue;  // chooses, and has no gradient
    EXPECT_GT(grad.abs().max().item<double>(), 0) << what << ": no gradient at all for " << name;
  }
}

TEST(RoutedFfn, GradientsEqualAutograd) {
  at::set_num_threads(1);
  for (const RouterKind kind : kKinds)
    for (const Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
      const std::string what = name_of(kind) + " " + name_of(activation);
      Problem p = routed_problem(kind, activation);
      if (kind == RouterKind::None) {  // neurons that are never on have no gradient
        p.config.routed.shared = {20};
        p.config.routed.neurons = {0, 0, 0, 0};
      }
      expect_autograd(p, what);
      if (!p.config.routed.has_bias()) continue;
      p = routed_problem(kind, activation);
      p.config.routed.threshold = true;
      expect_autograd(p, what + " with a threshold");
    }
}

TEST(RoutedFfn, GradientsEqualAutogradWithPenaltyCutsAndUnevenLayers) {
  at::set_num_threads(1);
  for (const RouterKind kind : {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron}) {
    Problem p = routed_problem(kind);
    p.l1 = 0.4;
    p.config.layers = 3;
    p.config.routed.shared = {5, 0, 8};
    p.config.routed.active = {1, 3, 2};
    p.config.routed.neurons.clear();
    p.config.tied_embeddings = p.config.qk_norm = true;
    p.shape = {3, 8, 1, DType::F64};
    p.cuts = {{0, 1}, {1, 3}};
    expect_autograd(p, name_of(kind));
  }
}

// Everything but the routers' own tensors is as in the dense model: names key the initial values.
TEST(RoutedFfn, AllExpertsOnIsTheDenseModel) {
  at::set_num_threads(1);
  for (const RouterKind kind : kKinds) {
    if (kind == RouterKind::None) continue;
    for (const DType dtype : {DType::F64, DType::F32}) {
      Problem p = routed_problem(kind);
      p.config.routed.active = {4};
      p.shape.compute = dtype;
      Problem dense = p;
      dense.config.routed = {};
      std::vector<std::vector<double>> logits;
      for (const Problem* one : {&p, &dense}) {
        LlamaStage stage(one->options());
        stage.parameters().initialise(3);
        enliven(stage.parameters());
        for (LocalParameter& parameter : stage.parameters().all())  // fresh: gates are 1
          if (parameter.spec.role == Role::RouterScale) parameter.weight.zero_();
        stage.keep_logits({0, 3, 6, 13});
        run_llama(stage, *one);
        logits.push_back(stage.kept_logits()[0]);
      }
      for (std::size_t i = 0; i < logits[1].size(); ++i)
        EXPECT_EQ(logits[0][i], logits[1][i]) << name_of(kind);
    }
  }
}

// A router of zeros scores all alike: the first experts are on. The static model is one whose dropped
// neurons have no output and whose means are added.
TEST(RoutedFfn, TiesGoToTheFirstExperts) {
  at::set_num_threads(1);
  Problem p = routed_problem(RouterKind::Linear);
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  for (LocalParameter& parameter : stage.parameters().all())
    if (parameter.spec.role == Role::RouterWeight) parameter.weight.zero_();
  Problem first = p;
  first.config.routed.neurons = {5 + 4, 3, 3, 0};
  first.config.routed.active = {1};
  LlamaStage same(first.options());
  same.parameters().initialise(3);
  for (LocalParameter& parameter : same.parameters().all())
    if (parameter.spec.role == Role::RouterWeight) parameter.weight.zero_();
  EXPECT_EQ(run_llama(stage, p).losses, run_llama(same, first).losses);
}

TEST(RoutedFfn, CountsTheNeuronsThatAreOff) {
  at::set_num_threads(1);
  Problem p = routed_problem(RouterKind::Random);
  p.config.routed.neurons = {4, 4, 4, 3};
  p.config.routed.active = {3};
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  run_llama(stage, p);
  for (const FfnCounts& counts : stage.ffn_counts()) {
    EXPECT_EQ(counts.elements, p.micros * p.shape.tokens() * 20);
    EXPECT_GE(counts.zeros, p.micros * p.shape.tokens() * 3);
    EXPECT_LE(counts.zeros, p.micros * p.shape.tokens() * 4);
    EXPECT_GT(counts.l1, 0);
  }
}

TEST(RoutedFfn, RecomputePiecesSplitsAndCutsChangeNoBit) {
  at::set_num_threads(1);
  for (const RouterKind kind : kKinds) {
    const auto run = [&](const std::function<void(Problem&)>& change) {
      Problem p = routed_problem(kind);
      p.l1 = 0.1;
      change(p);
      LlamaStage stage(p.options());
      stage.parameters().initialise(3);
      stir(stage.parameters());
      return run_llama(stage, p);
    };
    const Outcome expected = run([](Problem&) {});
    const std::string what = name_of(kind);
    expect_equal_bits(run([](Problem& p) { p.stash = StashKind::Recompute; }), expected, what + " recompute");
    expect_equal_bits(run([](Problem& p) { p.order = Problem::Order::Split; }), expected, what + " split");
    expect_equal_bits(run([](Problem& p) { p.pieces = 2; }), expected, what + " pieces");
    expect_equal_bits(run([](Problem& p) { p.stash_fill = 0xff; }), expected, what + " dirty stash");
    expect_equal_bits(run([](Problem& p) { p.cuts = {{0, 1}, {1, 2}}; }), expected, what + " cuts");
  }
}

TEST(RoutedFfn, Bf16StaysNearFp32) {
  at::set_num_threads(1);
  Problem p = routed_problem(RouterKind::Random);  // its choices do not depend on rounding
  std::vector<double> losses;
  for (const DType dtype : {DType::F32, DType::BF16}) {
    p.shape.compute = dtype;
    LlamaStage stage(p.options());
    stage.parameters().initialise(3);
    losses.push_back(run_llama(stage, p).losses[0]);
  }
  EXPECT_NE(losses[0], losses[1]);
  EXPECT_NEAR(losses[0], losses[1], 0x1p-7 * losses[0]);
}

}  // namespace
}  // namespace lacuna::test
