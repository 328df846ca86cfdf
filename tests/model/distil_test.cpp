// A teacher's probabilities in the loss: against autograd, over ranks that share the vocabulary, and through
// the whole model with a frozen teacher of another shape.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "parallel/run/local_communicator.h"
#include "src/base/math.h"
#include "src/base/rng.h"
#include "src/model/distil_loss.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

at::Tensor made_up(std::int64_t rows, std::int64_t columns, std::uint64_t key, double size) {
  at::Tensor out = at::empty({rows, columns}, at::kDouble);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<double>()[i] = size * rng_normal(key, static_cast<std::uint64_t>(i));
  return out;
}

// Σ over scored rows of (1 - share)·CE + share·(-Σ q log p), as plain operations.
at::Tensor mixed_loss(const at::Tensor& logits, const at::Tensor& teacher,
                      std::span<const std::int32_t> targets, double share) {
  at::Tensor sum = at::zeros({}, at::kDouble);
  const at::Tensor log_p = at::log_softmax(logits, 1), q = at::softmax(teacher, 1);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0) continue;
    const auto row = static_cast<std::int64_t>(i);
    sum = sum - (1 - share) * log_p[row][targets[i]] - share * (q[row] * log_p[row]).sum();
  }
  return sum;
}

struct Scored {
  at::Tensor grad;
  double loss = 0, divergence = 0;
};

// The columns of rank `rank` of `tp`; the gradient without padding.
Scored score(const at::Tensor& logits, const at::Tensor& teacher, const std::vector<std::int32_t>& targets,
             double share, double scale, Communicator* tp = nullptr) {
  const int ranks = tp ? tp->size() : 1, rank = tp ? tp->rank() : 0;
  const std::int64_t vocab = logits.size(1), width = ceil_div(vocab, std::int64_t{ranks});
  const std::int64_t first = std::min(rank * width, vocab), valid = std::min(width, vocab - first);
  const auto local = [&](const at::Tensor& all) {
    at::Tensor part = at::full({all.size(0), width}, NAN, all.options());
    part.narrow(1, 0, valid).copy_(all.narrow(1, first, valid));
    return part;
  };
  const at::Tensor mine = local(logits), loss = at::zeros({}, at::kDouble),
                   divergence = at::zeros({}, at::kDouble);
  distil_loss(mine, {local(teacher), divergence, share}, {targets, {}}, {first, valid}, scale,
              TokenShards(tp), loss);
  EXPECT_TRUE(at::equal(mine.narrow(1, valid, width - valid), at::zeros({logits.size(0), width - valid})));
  return {mine.narrow(1, 0, valid).clone(), loss.item<double>(), divergence.item<double>()};
}

const std::vector<std::int32_t> kTargets = {3, -1, 0, 10, 7, 7, -1, 4, 9};

TEST(DistilLoss, EqualsAutogradAndItsOwnDefinition) {
  const at::Tensor logits = made_up(9, 11, 1, 3), teacher = made_up(9, 11, 2, 4);
  for (double share : {0.0, 0.3, 1.0}) {
    const at::Tensor leaf = logits.clone().requires_grad_(true);
    (mixed_loss(leaf, teacher, kTargets, share) * 0.37).backward();
    const Scored ours = score(logits, teacher, kTargets, share, 0.37);
    EXPECT_LE(relative_difference(ours.grad, leaf.grad(), 1), 1e-14) << share;
    EXPECT_TRUE(at::equal(ours.grad[1], at::zeros({11}, at::kDouble))) << "a row that is not scored";
    const double token = mixed_loss(logits, teacher, kTargets, 0).item<double>(),
                 cross = mixed_loss(logits, teacher, kTargets, 1).item<double>(),
                 entropy = mixed_loss(teacher, teacher, kTargets, 1).item<double>();
    EXPECT_NEAR(ours.loss, token, 1e-13 * token) << "the loss of the tokens alone, whatever the share";
    EXPECT_NEAR(ours.divergence, cross - entropy, 1e-13 * cross);
  }
}

TEST(DistilLoss, ShareZeroIsTheCrossEntropy) {
  const at::Tensor logits = made_up(9, 11, 1, 3), plain = logits.clone(), loss = at::zeros({}, at::kDouble);
  cross_entropy(plain, {kTargets, {}}, {0, 11}, 0.37, TokenShards(nullptr), loss);
  const Scored ours = score(logits, made_up(9, 11, 2, 4), kTargets, 0, 0.37);
  EXPECT_LE(relative_difference(ours.grad, plain, 1), 1e-15);
  EXPECT_NEAR(ours.loss, loss.item<double>(), 1e-14 * ours.loss);
}

TEST(DistilLoss, IsFarFromOverflow) {
  const at::Tensor logits = made_up(9, 11, 1, 3).add_(5000), teacher = made_up(9, 11, 2, 4).add_(-9000);
  const Scored far = score(logits, teacher, kTargets, 0.5, 1);
  const Scored near = score(logits.sub(5000), teacher.add(9000), kTargets, 0.5, 1);
  EXPECT_LE(relative_difference(far.grad, near.grad, 1), 1e-11);  // 5000 and 9000 cost four digits
  EXPECT_NEAR(far.divergence, near.divergence, 1e-10 * near.divergence);
}

TEST(DistilLoss, RanksThatShareTheVocabularyEqualOne) {
  for (std::int64_t vocab : {std::int64_t{11}, std::int64_t{5}})  // 5 on 8 ranks: three hold padding alone
    for (int tp : {2, 4, 8}) {
      std::vector<std::int32_t> targets = kTargets;
      for (std::int32_t& t : targets) t = std::min(t, static_cast<std::int32_t>(vocab - 1));
      const at::Tensor logits = made_up(9, vocab, 1, 3), teacher = made_up(9, vocab, 2, 4);
      const Scored one = score(logits, teacher, targets, 0.6, 0.5);
      std::vector<Scored> ranks(static_cast<std::size_t>(tp));
      run_local(tp, [&](Communicator& world, int rank) {
        ranks[static_cast<std::size_t>(rank)] = score(logits, teacher, targets, 0.6, 0.5, &world);
      });
      std::vector<at::Tensor> columns;
      for (const Scored& rank : ranks) {
        columns.push_back(rank.grad);
        EXPECT_EQ(rank.loss, ranks[0].loss) << "ranks disagree";
        EXPECT_EQ(rank.divergence, ranks[0].divergence) << "ranks disagree";
      }
      EXPECT_LE(relative_difference(at::cat(columns, 1), one.grad, 1), 1e-14) << tp;
      EXPECT_NEAR(ranks[0].loss, one.loss, 1e-14 * one.loss);
      EXPECT_NEAR(ranks[0].divergence, one.divergence, 1e-13 * one.divergence);
    }
}

Problem student_problem() {
  Problem p;
  p.config.activation = Activation::Drelu;
  p.config.tied_embeddings = true;
  p.shape = {2, 16, 1, DType::F64};
  p.micros = 3;
  p.l1 = 0.2;
  p.l1_knee = 0.1;
  return p;
}

// One layer, silu, other widths; the same tokens.
Problem teacher_problem() {
  Problem p = student_problem();
  p.config.activation = Activation::Silu;
  p.config.layers = 1;
  p.config.hidden = 18;
  p.config.ffn = 10;
  return p;
}

// What the frozen teacher says about the problem's batch.
SoftTargets teach(const Problem& problem, double share, std::uint64_t seed = 8) {
  LlamaStageOptions options = problem.options();
  options.frozen = true;
  LlamaStage stage(options);
  stage.parameters().initialise(seed);
  enliven(stage.parameters());
  SoftTargets out;
  out.share = share;
  out.head = stage.parameters().at("model.embed_tokens.weight", true).weight;
  stage.observe_states([&](int micro, const at::Tensor& states) {
    EXPECT_EQ(micro, static_cast<int>(out.states.size()));
    out.states.push_back(states.clone());
  });
  StepBatch batch = problem.batch();
  batch.gradients = false;
  stage.begin_step(std::move(batch));
  std::vector<std::byte> stash(stage.piece_bytes(0, 0) + 64);
  void* start = stash.data();
  std::size_t room = stash.size();
  std::byte* piece = static_cast<std::byte*>(std::align(64, stage.piece_bytes(0, 0), start, room));
  for (int micro = 0; micro < problem.micros; ++micro) stage.forward(0, micro, nullptr, nullptr, {&piece, 1});
  for (const LocalParameter& p : stage.parameters().all()) EXPECT_FALSE(p.grad.defined()) << p.spec.name;
  return out;
}

TEST(Distillation, GradientsEqualAutogradThroughAnIndependentForward) {
  at::set_num_threads(1);
  const Problem problem = student_problem();
  const SoftTargets soft = teach(teacher_problem(), 0.7);
  Problem taught = problem;
  taught.soft = soft;
  const Outcome ours = run_llama(taught);

  const StepBatch batch = problem.batch();
  const auto module = [&](const ModuleCall& call) {
    ModuleResult out;
    const double weight = batch.l1 / static_cast<double>(batch.global_tokens * problem.config.layers);
    const auto price = [&](int, const at::Tensor& product) {
      const at::Tensor term = (1 + product.abs() / batch.l1_knee).log().sum() * (weight * batch.l1_knee);
      out.penalty = out.penalty.defined() ? out.penalty + term : term;
    };
    const at::Tensor x =
        reference_blocks(problem.config, call.weight, call.layers,
                         reference_embedding(call.weight, call.tokens, call.sequences), price);
    std::size_t micro = 0;  // the one with these tokens
    while (!std::equal(call.tokens.begin(), call.tokens.end(),
                       batch.tokens.begin() + static_cast<std::ptrdiff_t>(micro * call.tokens.size())))
      ++micro;
    const at::Tensor teacher = at::mm(soft.states.at(micro), soft.head.t());
    out.output =
        mixed_loss(reference_logits(problem.config, call.head_weight, x), teacher, call.targets, 0.7);
    return out;
  };
  AutogradStage stage(problem.options(), module);
  stage.parameters().initialise(3);
  enliven(stage.parameters());
  const Outcome oracle = run_autograd(stage, problem);
  std::string worst;
  EXPECT_LE(worst_difference(ours, oracle, &worst), 1e-10) << worst;
  const Outcome untaught = run_llama(problem);
  EXPECT_GT(worst_difference(ours, untaught, &worst), 1e-2) << "the teacher changes nothing";
  for (std::size_t i = 0; i < ours.losses.size(); ++i)
    EXPECT_NEAR(ours.losses[i], untaught.losses[i], 1e-13 * untaught.losses[i])
        << "the loss of the tokens alone";
}

TEST(Distillation, CutsAndRecomputeChangeNoBit) {
  at::set_num_threads(1);
  Problem p = student_problem();
  p.soft = teach(teacher_problem(), 0.7);
  const Outcome expected = run_llama(p);
  Problem cut = p;
  cut.cuts = {{0, 1}, {1, 2}};
  expect_equal_bits(run_llama(cut), expected, "two stages");
  cut.stash = StashKind::Recompute;
  expect_equal_bits(run_llama(cut), expected, "recompute");
}

TEST(Distillation, NothingIsLeftToLearnFromOneself) {
  at::set_num_threads(1);
  Problem p = student_problem();
  p.l1 = 0;
  p.soft = teach(p, 1, 3);  // the student's own weights
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  enliven(stage.parameters());
  const Outcome out = run_llama(stage, p);
  for (int micro = 0; micro < p.micros; ++micro) EXPECT_NEAR(stage.micro_divergence(micro), 0, 1e-12);
  for (const auto& [name, grad] : out.grads) EXPECT_LE(grad.abs().max().item<double>(), 1e-14) << name;
}

}  // namespace
}  // namespace lacuna::test
