// The functions of a block one by one, on values that can be known beforehand.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "src/model/attention.h"
#include "src/model/cross_entropy.h"
#include "src/model/ffn_glu.h"
#include "src/model/norm.h"
#include "src/model/rope.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

at::Tensor row(const std::vector<double>& values, at::ScalarType type = at::kDouble) {
  at::Tensor out = at::empty({1, static_cast<std::int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), out.data_ptr<double>());
  return out.to(type);
}

TEST(RmsNorm, DividesByTheRootMeanSquare) {
  const at::Tensor x = row({3, -4, 0, 0}), weight = row({1, 2, 3, 4}).view({4}), y = at::full_like(x, kNan);
  const at::Tensor rstd = at::full({1}, kNan, at::kDouble);
  rms_norm(x, weight, 0.75, y, rstd);  // mean square 6.25, plus 0.75: 7
  const double scale = 1 / std::sqrt(7.0);
  EXPECT_DOUBLE_EQ(rstd[0].item<double>(), scale);
  EXPECT_TRUE(at::allclose(y, row({3 * scale, -8 * scale, 0, 0}), 1e-15));
}

TEST(Glu, ValuesZerosAndSums) {
  const at::Tensor gate = row({-1, 2, 2, -3, 0, 5}), up = row({4, -3, 3, -2, 7, 0});
  const at::Tensor scratch = at::empty_like(gate), product = at::full_like(gate, kNan);
  ProductCounts counts;
  glu_forward(Activation::Drelu, gate, up, product, scratch, counts);
  EXPECT_TRUE(at::equal(product, row({0, 0, 6, 0, 0, 0})));
  EXPECT_EQ(counts.zeros, 5);
  EXPECT_EQ(counts.elements, 6);
  EXPECT_EQ(counts.l1, 6);
  counts = {};
  glu_forward(Activation::Relu, gate, up, product, scratch, counts);
  EXPECT_TRUE(at::equal(product, row({0, -6, 6, 0, 0, 0})));
  EXPECT_FALSE(product.signbit().narrow(1, 2, 4).any().item<bool>()) << "a negative zero";
  EXPECT_EQ(counts.zeros, 4);
  EXPECT_EQ(counts.l1, 12);
  counts = {};
  glu_forward(Activation::Silu, gate, up, product, scratch, counts);
  EXPECT_TRUE(at::allclose(product, at::silu(gate) * up, 1e-15));
  EXPECT_EQ(counts.zeros, 2);
}

TEST(Glu, NanIsNeverAZero) {
  for (Activation activation : {Activation::Silu, Activation::Relu, Activation::Drelu}) {
    const at::Tensor gate = row({kNan, 1, -1, kNan}), up = row({1, kNan, kNan, -1});
    const at::Tensor product = at::empty_like(gate), scratch = at::empty_like(gate);
    ProductCounts counts;
    glu_forward(activation, gate, up, product, scratch, counts);
    EXPECT_TRUE(product.isnan().narrow(1, 0, 2).all().item<bool>()) << name_of(activation);
    EXPECT_TRUE(std::isnan(counts.l1)) << name_of(activation);
  }
}

TEST(Glu, PenaltyPushesTheProductTowardsZero) {
  const at::Tensor gate = row({2, 2, -2}), up = row({3, -3, 3}), product = row({6, -6, 0});
  const at::Tensor none = at::zeros_like(gate), scratch = at::empty_like(gate);
  const at::Tensor gate_grad = gate.clone(), up_grad = up.clone();
  glu_backward(Activation::Relu, gate_grad, up_grad, product, none, {0.5, 0}, scratch);
  EXPECT_TRUE(at::equal(gate_grad, row({1.5, 1.5, 0})));  // 0.5·sign(product)·up
  EXPECT_TRUE(at::equal(up_grad, row({1, -1, 0})));       // 0.5·sign(product)·gate
  EXPECT_TRUE(at::equal(penalty_grad(product, {0.5, 2}), row({0.125, -0.125, 0})));  // · 2 / (2 + 6)
}

TEST(Rope, TurnsByPositionAndBack) {
  ModelConfig c = small_config();
  c.head_dim = 4;
  const RopeTable table(c, 3, at::kDouble);
  const at::Tensor x = at::ones({3, 8}, at::kDouble), y = x.clone();
  table.rotate(y, y.narrow(0, 0, 0));
  EXPECT_TRUE(at::equal(y[0], x[0])) << "position 0 does not turn";
  for (std::int64_t head : {0, 4}) {  // pairs (0, 2) at frequency 1 and (1, 3) at 1/100
    EXPECT_NEAR(y[2][head].item<double>(), std::cos(2.0) - std::sin(2.0), 1e-15);
    EXPECT_NEAR(y[2][head + 2].item<double>(), std::cos(2.0) + std::sin(2.0), 1e-15);
    EXPECT_NEAR(y[2][head + 1].item<double>(), std::cos(0.02) - std::sin(0.02), 1e-15);
    EXPECT_NEAR(y[2][head + 3].item<double>(), std::cos(0.02) + std::sin(0.02), 1e-15);
  }
  table.rotate_back(y, y.narrow(0, 0, 0));
  EXPECT_TRUE(at::allclose(x, y, 1e-15));
}

TEST(Rope, PositionsStartAgainWithEachSequence) {
  const RopeTable table(small_config(), 5, at::kFloat);
  const at::Tensor one = at::arange(5 * 12, at::kFloat).view({5, 12});
  const at::Tensor two = at::cat({one, one});
  table.rotate(one, two);
  EXPECT_TRUE(at::equal(two, at::cat({one, one})));
}

TEST(Rope, Llama3ScalingKeepsFastAndDividesSlow) {
  ModelConfig c = small_config();
  c.head_dim = 128;
  c.rope_theta = 500000;
  const std::vector<double> plain = rope_frequencies(c);
  c.rope_scaling = {"llama3", 8, 1, 4, 8192};
  const std::vector<double> scaled = rope_frequencies(c);
  int kept = 0, divided = 0, between = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double ratio = plain[i] / scaled[i], wavelength = 2 * M_PI / plain[i];
    if (wavelength < 8192.0 / 4) {
      EXPECT_DOUBLE_EQ(ratio, 1);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(ratio, 8);
      ++divided;
    } else {
      EXPECT_GT(ratio, 1);
      EXPECT_LT(ratio, 8);
      ++between;
    }
  }
  EXPECT_EQ(kept + divided + between, 64);
  EXPECT_GT(between, 3);
  c.rope_scaling = {.kind = "linear", .factor = 4};
  EXPECT_DOUBLE_EQ(rope_frequencies(c)[5], plain[5] / 4);
}

// Queries of zero attend evenly: the output is the mean of the visible values, lse the log of their number.
TEST(Attention, EvenWeightsAverageTheVisibleValues) {
  for (std::int64_t window : {0, 3, 70}) {
    const std::int64_t n = 130;
    Attention attention(
        {.sequences = 2, .seq_len = n, .kv_heads = 1, .group = 2, .head_dim = 2, .window = window},
        at::kDouble);
    const at::Tensor query = at::zeros({2 * n, 4}, at::kDouble), key = at::ones({2 * n, 2}, at::kDouble);
    const at::Tensor value = at::arange(4 * n, at::kDouble).view({2 * n, 2});
    const at::Tensor context = at::full({2 * n, 4}, kNan, at::kDouble),
                     lse = at::full({2 * n, 2}, kNan, at::kDouble);
    attention.forward(query, key, value, context, lse);
    for (std::int64_t token = 0; token < 2 * n; ++token) {
      const std::int64_t position = token % n;
      const std::int64_t seen = window > 0 ? std::min(window, position + 1) : position + 1;
      const double mean = static_cast<double>(2 * token) - static_cast<double>(seen - 1);
      for (std::int64_t head = 0; head < 2; ++head) {
        ASSERT_NEAR(context[token][2 * head].item<double>(), mean, 1e-12 * (mean + 1)) << token;
        ASSERT_NEAR(lse[token][head].item<double>(), std::log(static_cast<double>(seen)), 1e-13) << token;
      }
    }
  }
}

TEST(CrossEntropy, SurvivesExtremeLogitsAndSkipsTargets) {
  const std::vector<std::int32_t> targets{1, -1, 0};
  const at::Tensor logits = at::cat({row({1e4, -1e4, 0, 9}), row({1, 2, 3, 9}), row({5, 5, 5, 9})});
  const at::Tensor sum = at::zeros({}, at::kDouble);
  cross_entropy(logits, {targets, {}}, {0, 3}, 0.5, TokenShards(nullptr), sum);
  const double loss = sum.item<double>();
  EXPECT_DOUBLE_EQ(loss, 2e4 + std::log(3.0));
  EXPECT_TRUE(at::allclose(logits[0], row({0.5, -0.5, 0, 0})[0]));
  EXPECT_TRUE(at::equal(logits[1], row({0, 0, 0, 0})[0])) << "a row without a target has no gradient";
  EXPECT_TRUE(at::allclose(logits[2], row({-1.0 / 3, 0.5 / 3, 0.5 / 3, 0})[0])) << "padding gets none";
}

TEST(CrossEntropy, OfManyChunksEqualsLogSoftmax) {
  at::set_num_threads(1);
  for (at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const std::int64_t rows = 50, columns = 5000;
    const at::Tensor logits =
        (at::arange(rows * columns, at::kDouble).sin() * 8).view({rows, columns}).to(type);
    std::vector<std::int32_t> targets;
    for (int i = 0; i < rows; ++i) targets.push_back(i * 97);
    const at::Tensor exact = logits.to(at::kDouble);
    const at::Tensor shares = at::softmax(exact, -1);
    double wanted = 0;
    for (int i = 0; i < rows; ++i) {
      wanted -= std::log(shares[i][targets[static_cast<std::size_t>(i)]].item<double>());
      shares[i][targets[static_cast<std::size_t>(i)]] -= 1;
    }
    const at::Tensor sum = at::zeros({}, at::kDouble);
    cross_entropy(logits, {targets, {}}, {0, columns}, 1, TokenShards(nullptr), sum);
    const double loss = sum.item<double>();
    const double u = type == at::kDouble ? 0x1p-53 : 0x1p-24;  // of the statistics
    EXPECT_NEAR(loss, wanted, 100 * u * wanted);
    const double grain = type == at::kBFloat16 ? 0x1p-9 : 100 * u;  // of the stored gradient
    EXPECT_TRUE(at::allclose(logits.to(at::kDouble), shares, grain, grain * 1e-3));
  }
}

}  // namespace
}  // namespace lacuna::test
