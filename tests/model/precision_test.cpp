// fp32 and bf16 against fp64 on the same weights. The bound is measured, not tuned: rounding the weights
// alone to the type's precision moves the fp64 gradient by some delta. A pass rounds about 28 tensors per
// block (16 forward, 12 backward) where that experiment rounds 7; independent errors add as squares, and a
// factor of 4 covers that they are not alike: 4·sqrt(28/7) = 8 deltas.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/rng.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

constexpr double kDeltas = 8;

Problem typical(DType compute, Activation activation) {
  Problem p;
  p.config.hidden = 48;
  p.config.head_dim = 12;
  p.config.ffn = 96;
  p.config.vocab = 101;
  p.config.activation = activation;
  p.shape = {2, 24, 1, compute};
  return p;
}

// Weights that bf16 can hold, times 1 + u·e with e uniform in [-1, 1].
void load_weights(ParameterStore& store, const ParameterStore& bf16, double u) {
  for (std::size_t i = 0; i < store.all().size(); ++i) {
    LocalParameter& p = store.all()[i];
    at::Tensor values = bf16.all()[i].weight.to(at::kDouble);
    double* v = values.data_ptr<double>();
    const std::uint64_t key = rng_key(5, p.spec.name);
    for (std::int64_t k = 0; k < values.numel(); ++k)
      v[k] *= 1 + u * (2 * rng_uniform(key, static_cast<std::uint64_t>(k)) - 1);
    p.weight.copy_(values);
  }
}

Outcome run_with(const Problem& problem, const ParameterStore& bf16, double u) {
  LlamaStage stage(problem.options());
  load_weights(stage.parameters(), bf16, u);
  return run_llama(stage, problem);
}

// |a − b| / |b| over all gradients as one vector.
double distance(const Outcome& a, const Outcome& b) {
  double error = 0, size = 0;
  for (const auto& [name, grad] : b.grads) {
    error += (a.grads.at(name).to(at::kDouble) - grad).square().sum().item<double>();
    size += grad.square().sum().item<double>();
  }
  return std::sqrt(error / size);
}

void expect_close_to_fp64(DType compute, double u, Activation activation) {
  LlamaStage source(typical(DType::BF16, activation).options());
  source.parameters().initialise(3);
  enliven(source.parameters(), 5);
  const Problem exact = typical(DType::F64, activation);
  const Outcome reference = run_with(exact, source.parameters(), 0);
  const double delta = distance(run_with(exact, source.parameters(), u), reference);
  const Outcome ours = run_with(typical(compute, activation), source.parameters(), 0);
  const std::string what = std::string(name_of(compute)) + " " + name_of(activation);
  const double error = distance(ours, reference);
  EXPECT_LE(error, kDeltas * delta) << what;
  EXPECT_GE(error, delta / 100) << what << ": suspiciously exact, is it computed in fp64?";
  for (std::size_t i = 0; i < ours.losses.size(); ++i)
    EXPECT_NEAR(ours.losses[i], reference.losses[i], kDeltas * delta * reference.losses[i]) << what;
}

TEST(Precision, Fp32FollowsFp64) {
  at::set_num_threads(1);
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu})
    expect_close_to_fp64(DType::F32, 0x1p-24, activation);
}

TEST(Precision, Bf16FollowsFp64) {
  at::set_num_threads(1);
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu})
    expect_close_to_fp64(DType::BF16, 0x1p-9, activation);
}

// bf16 gradients accumulate in float: many equal micro-batches add up to their number times one. A bf16 sum
// would stop growing at 256 addends.
TEST(Precision, Bf16GradientsAccumulateInFloat) {
  at::set_num_threads(1);
  Problem p = typical(DType::BF16, Activation::Silu);
  p.shape = {1, 4, 1, DType::BF16};
  p.micros = 1;
  LlamaStage stage(p.options());
  stage.parameters().initialise(3);
  const Outcome one = run_llama(stage, p);
  at::Tensor stash = at::zeros({static_cast<std::int64_t>(stage.piece_bytes(0, 0))}, at::kByte);
  std::byte* piece = static_cast<std::byte*>(stash.data_ptr());
  stage.parameters().zero_grads();
  constexpr int kTimes = 600;
  for (int i = 0; i < kTimes; ++i) {
    stage.forward(0, 0, nullptr, nullptr, {&piece, 1});
    stage.backward(0, 0, nullptr, nullptr, {&piece, 1});
  }
  for (const LocalParameter& param : stage.parameters().all()) {
    const at::Tensor wanted = one.grads.at(param.spec.name) * kTimes;
    const double error = (param.grad - wanted).norm().item<double>(), size = wanted.norm().item<double>();
    EXPECT_LE(error, kTimes * 0x1p-24 * size) << param.spec.name;
  }
}

}  // namespace
}  // namespace lacuna::test
