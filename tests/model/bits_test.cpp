// Same mathematics, same bits: whatever does not change the sums changes no bit of losses and gradients.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

Problem three_layers(DType compute) {
  Problem p;
  p.config.layers = 3;
  p.config.qk_norm = p.config.qkv_bias = p.config.tied_embeddings = true;
  p.config.activation = Activation::Drelu;
  p.shape = {2, 7, 1, compute};
  p.micros = 3;
  p.l1 = 0.2;
  return p;
}

class Bits : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    base_ = three_layers(GetParam());
    expected_ = run_llama(base_);
  }
  void expect_same(const Problem& problem, const std::string& what) {
    expect_equal_bits(run_llama(problem), expected_, what);
  }
  Problem base_;
  Outcome expected_;
};

TEST_P(Bits, PiecesChangeNothing) {
  for (int pieces : {2, 3, 5}) {
    Problem p = base_;
    p.pieces = pieces;
    expect_same(p, std::to_string(pieces) + " pieces");
  }
}

TEST_P(Bits, PipelineCutsChangeNothing) {
  // The last cut has stages that hold the embedding or the head alone.
  const std::vector<std::vector<LayerRange>> cuts = {
      {{0, 0}, {0, 2}, {2, 3}, {3, 3}}, {{0, 1}, {1, 3}}, {{0, 2}, {2, 3}}, {{0, 1}, {1, 2}, {2, 3}}};
  for (const auto& cut : cuts) {
    Problem p = base_;
    p.cuts = cut;
    expect_same(p, std::to_string(cut.size()) + " stages, first of " + std::to_string(cut[0].end));
  }
}

TEST_P(Bits, RecomputeChangesNothing) {
  Problem p = base_;
  p.stash = StashKind::Recompute;
  expect_same(p, "recompute");
  p.order = Problem::Order::Split;
  p.cuts = {{0, 2}, {2, 3}};
  p.pieces = 2;
  expect_same(p, "recompute, two stages in two pieces, split backward");
}

TEST_P(Bits, SplittingTheBackwardChangesNothing) {
  Problem p = base_;
  p.order = Problem::Order::Split;
  expect_same(p, "all input_grads before all weight_grads");
  p.cuts = {{0, 1}, {1, 3}};
  expect_same(p, "the same over two stages");
}

// Everything the backward pass reads was written by forward: what lay in the stash before does not matter.
TEST_P(Bits, OldContentOfTheStashChangesNothing) {
  Problem p = base_;
  p.stash_fill = 0xff;  // NaN in every floating type
  expect_same(p, "a stash full of NaN");
  p.stash = StashKind::Recompute;
  expect_same(p, "recompute over a stash full of NaN");
}

TEST_P(Bits, RepeatingAStepChangesNothing) {
  LlamaStage stage(base_.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters());
  run_llama(stage, base_);
  expect_equal_bits(run_llama(stage, base_), expected_, "the second run of a stage");
}

// Micro-batches accumulate: a step of both is the sum of its parts, in call order.
TEST_P(Bits, GradientsAccumulateInCallOrder) {
  LlamaStage stage(base_.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters());
  Problem one = base_;
  one.micros = 1;
  const StepBatch whole = base_.batch();
  const std::size_t n = static_cast<std::size_t>(base_.shape.tokens());
  at::Tensor stash = at::zeros({static_cast<std::int64_t>(stage.piece_bytes(0, 0))}, at::kByte);
  std::byte* piece = static_cast<std::byte*>(stash.data_ptr());
  for (int micro = 0; micro < base_.micros; ++micro) {
    StepBatch part = whole;
    part.micros = 1;
    part.tokens.assign(whole.tokens.begin() + micro * n, whole.tokens.begin() + (micro + 1) * n);
    part.targets.assign(whole.targets.begin() + micro * n, whole.targets.begin() + (micro + 1) * n);
    stage.begin_step(part);
    stage.forward(0, 0, nullptr, nullptr, {&piece, 1});
    stage.backward(0, 0, nullptr, nullptr, {&piece, 1});
    EXPECT_EQ(stage.micro_loss(0), expected_.losses[static_cast<std::size_t>(micro)]);
  }
  for (const LocalParameter& p : stage.parameters().all())
    EXPECT_TRUE(at::equal(p.grad, expected_.grads.at(p.spec.name + (p.tied_copy ? " (tied)" : ""))))
        << p.spec.name;
}

INSTANTIATE_TEST_SUITE_P(Types, Bits, ::testing::Values(DType::F64, DType::F32, DType::BF16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace lacuna::test
