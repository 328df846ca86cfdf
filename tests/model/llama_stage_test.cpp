// The stage's surface: counts, kept logits, the FFN observer, refused batches and shapes.
#include "src/model/llama_stage.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

std::string message_of(const std::function<void()>& body, ErrorKind kind) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(LlamaStage, CountsExactZerosOfTheProduct) {
  at::set_num_threads(1);
  for (StashKind kind : {StashKind::Full, StashKind::Recompute}) {
    Problem p;
    p.config.activation = Activation::Drelu;
    p.stash = kind;
    LlamaStage stage(p.options());
    stage.parameters().initialise(3);
    enliven(stage.parameters());
    std::vector<std::int64_t> zeros(2);
    std::vector<double> l1(2);
    stage.observe_ffn(
        [&](int layer, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& product) {
          const auto i = static_cast<std::size_t>(layer);
          zeros[i] += gate.le(0).logical_or(up.le(0)).sum().item<std::int64_t>();
          l1[i] += product.abs().sum().item<double>();
          EXPECT_TRUE(at::equal(product, gate.clamp_min(0) * up.clamp_min(0)));
        });
    run_llama(stage, p);
    ASSERT_EQ(stage.ffn_counts().size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      const FfnCounts counts = stage.ffn_counts()[i];
      EXPECT_EQ(counts.layer, static_cast<int>(i));
      EXPECT_EQ(counts.elements, 2 * 14 * 20);
      EXPECT_EQ(counts.zeros, zeros[i]);
      EXPECT_GT(counts.zeros, counts.elements / 2);
      EXPECT_NEAR(counts.l1, l1[i], 1e-12 * l1[i]);
    }
  }
}

TEST(LlamaStage, KeepsTheLogitsOfNamedTokens) {
  at::set_num_threads(1);
  const Problem p;
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters());
  stage.keep_logits({13, 0});
  run_llama(stage, p);
  const StepBatch batch = p.batch();
  const auto weight = [&](const std::string& name) { return stage.parameters().at(name).weight; };
  for (std::size_t micro = 0; micro < 2; ++micro) {
    const auto tokens = std::span(batch.tokens).subspan(micro * 14, 14);
    const at::Tensor x = reference_blocks(p.config, weight, {0, 2}, reference_embedding(weight, tokens, 2));
    const at::Tensor logits = reference_logits(p.config, weight, x);
    const std::vector<double>& kept = stage.kept_logits().at(micro);
    ASSERT_EQ(kept.size(), 2u * 37);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::int64_t v = 0; v < 37; ++v)
        EXPECT_NEAR(kept[i * 37 + static_cast<std::size_t>(v)], logits[i == 0 ? 13 : 0][v].item<double>(),
                    1e-11);
  }
}

TEST(LlamaStage, RefusesWrongTokens) {
  const Problem p;
  LlamaStage stage(p.options());
  StepBatch batch = p.batch();
  batch.tokens[20] = 37;
  EXPECT_EQ(
      message_of([&] { stage.begin_step(batch); }, ErrorKind::BadInput),
      "micro-batch 1, position 6: token is 37, wanted 0 to 36: were these tokens made with this model's "
      "tokenizer?");
  batch = p.batch();
  batch.targets[0] = -2;
  EXPECT_NE(message_of([&] { stage.begin_step(batch); }, ErrorKind::BadInput).find("target is -2"),
            std::string::npos);
  batch = p.batch();
  batch.targets.pop_back();
  EXPECT_EQ(message_of([&] { stage.begin_step(batch); }, ErrorKind::Internal),
            "a step of 2 micro-batches wants 28 tokens and targets, got 28 and 27");
}

TEST(LlamaStage, ObserverMayKeepItsTensors) {
  at::set_num_threads(1);
  const Problem p;
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  at::Tensor sum;
  stage.observe_ffn([&](int, const at::Tensor&, const at::Tensor&, const at::Tensor& product) {
    const at::Tensor one = product.abs().sum(0);
    if (sum.defined())
      sum.add_(one);
    else
      sum = one;
  });
  run_llama(stage, p);
  sum.mul_(2);  // an inference tensor would refuse
  EXPECT_GT(sum.min().item<double>(), 0);
  stage.observe_ffn(nullptr);
  run_llama(stage, p);
}

TEST(LlamaStage, RunsTheReduceHook) {
  const Problem p;
  LlamaStage stage(p.options());
  stage.reduce(0);  // none set: nothing happens
  int reduced = -1;
  stage.set_reduce_hook([&](int index) { reduced = index; });
  stage.reduce(0);
  EXPECT_EQ(reduced, 0);
}

// A wrong number anywhere must reach the loss: the numeric guard watches nothing else.
TEST(LlamaStage, NanReachesTheLoss) {
  at::set_num_threads(1);
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu})
    for (const char* name : {"mlp.gate_proj.weight", "mlp.up_proj.weight", "self_attn.v_proj.weight"}) {
      Problem p;
      p.config.activation = activation;
      LlamaStage stage(p.options());
      stage.parameters().initialise(3);
      stage.parameters().at(std::string("model.layers.1.") + name).weight[3][2] = NAN;
      EXPECT_TRUE(std::isnan(run_llama(stage, p).losses[0])) << name_of(activation) << ", " << name;
    }
}

}  // namespace
}  // namespace lacuna::test
