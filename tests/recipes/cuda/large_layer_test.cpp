// One layer of a 7B model carved on a GPU (11,008 neurons over 4,096 inputs, 16,384 tokens and 2,048 to check
// on): its statistics against the CPU's on some tokens, and where its seconds go.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "recipes/cmoe/carve_layer.h"
#include "src/model/cuda/ops.h"
#include "src/train/phase_clock.h"

namespace lacuna::test {
namespace {

constexpr std::int64_t kHidden = 4096, kNeurons = 11008;

FfnWeights random_ffn(at::Device device) {
  const auto memory = at::TensorOptions().device(device);
  const double scale = 1 / std::sqrt(static_cast<double>(kHidden));
  return {at::randn({kNeurons, kHidden}, memory) * scale, at::randn({kNeurons, kHidden}, memory) * scale,
          at::randn({kHidden, kNeurons}, memory) * 0.01, Activation::Silu};
}

FfnWeights on_cpu(const FfnWeights& ffn) {
  return {ffn.gate.cpu(), ffn.up.cpu(), ffn.down.cpu(), ffn.activation};
}

// A product of sums a and b of `kHidden` terms each, both off by at most γ of Σ|terms|; silu changes no
// faster than by 1.1 and grows no faster than its argument: the largest error of h = silu(a)·b by tokens and
// neurons.
at::Tensor product_bound(const FfnWeights& ffn, const at::Tensor& x) {
  constexpr double kGamma = 2.0 * static_cast<double>(kHidden) * 0x1p-24;
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor b = at::matmul(wide(x), wide(ffn.up).t()).abs();
  const at::Tensor a = at::matmul(wide(x), wide(ffn.gate).t()).abs();
  const at::Tensor a_terms = at::matmul(wide(x).abs(), wide(ffn.gate).abs().t());
  const at::Tensor b_terms = at::matmul(wide(x).abs(), wide(ffn.up).abs().t());
  const at::Tensor a_error = kGamma * a_terms, b_error = kGamma * b_terms;
  return 1.1 * a_error * (b + b_error) + (a + a_error) * b_error;
}

TEST(LargeLayerOnGpu, StatisticsAreTheCpus) {
  const at::Device device(at::kCUDA, 0);
  on_cuda::use_device(0);
  const FfnWeights ffn = random_ffn(device);
  const at::Tensor x = at::randn({64, kHidden}, ffn.gate.options());
  const NeuronStatistics gpu = neuron_statistics(ffn, x, 10);
  const FfnWeights here = on_cpu(ffn);
  const NeuronStatistics cpu = neuron_statistics(here, x.cpu(), 10);
  const at::Tensor bound = product_bound(here, x.cpu()), size = here.products(x.cpu()).to(at::kDouble).abs();
  const auto within = [](const at::Tensor& a, const at::Tensor& b, const at::Tensor& most) {
    return (a.cpu() - b).abs().le(most).all().item<bool>();
  };
  EXPECT_TRUE(within(gpu.mean, cpu.mean, 2 * bound.mean(0)));
  EXPECT_TRUE(within(gpu.second, cpu.second, 2 * (bound * (2 * size + bound)).mean(0)));
  EXPECT_TRUE(within(gpu.input_mean, cpu.input_mean, at::full_like(cpu.input_mean, 1e-12)));
  EXPECT_TRUE(within(gpu.input_second, cpu.input_second, at::full_like(cpu.input_second, 1e-12)));
  EXPECT_EQ(gpu.counts.sum().item<std::int64_t>(), 64 * 10);
  // Which neurons are marked follows from the GPU's own products.
  const at::Tensor marked = std::get<1>(ffn.products(x).abs().cpu().topk(10, 1));
  EXPECT_TRUE(at::equal(std::get<0>(marked.sort(1)).to(at::kInt), gpu.top_neurons.cpu()));
  EXPECT_TRUE(at::equal(at::bincount(gpu.top_neurons.flatten().to(at::kLong), {}, kNeurons), gpu.counts));
}

TEST(LargeLayerOnGpu, IsCarvedAndSaysHowLongItTook) {
  const at::Device device(at::kCUDA, 0);
  on_cuda::use_device(0);
  LayerEvidence e;
  e.ffn = random_ffn(device);
  const at::Tensor x = at::randn({16384 + 2048, kHidden}, e.ffn.gate.options());
  e.inputs = x.narrow(0, 0, 16384);
  e.check_inputs = x.narrow(0, 16384, 2048);
  const at::Tensor g = at::randn({2048, kHidden}, e.ffn.gate.options().dtype(at::kDouble));
  e.output_moment = at::matmul(g.t(), g);
  RoutedLayer shape;
  shape.shared = 4128;
  shape.active = 3;
  for (std::int64_t expert = 0; expert <= 5; ++expert) shape.begin.push_back(4128 + 1376 * expert);
  const CmoeOptions options;
  for (const char* round : {"first", "again"}) {  // the first loads libraries
    PhaseClock clock(device);
    e.statistics = clock.in("statistics", [&] { return neuron_statistics(e.ffn, e.inputs, options.top); });
    std::vector<std::int32_t> order = clock.in("clusters", [&] { return carve_order(e, shape, options); });
    const CarvedLayer layer =
        clock.in("routers", [&] { return fit_experts(e, shape, order, RouterKind::Linear, options); });
    fmt::print("{}: {}\n", round, clock.text());
    EXPECT_TRUE(at::isfinite(layer.router.weight).all().item<bool>());
    for (const double share : {layer.quality.lost, layer.quality.lost_oracle, layer.quality.active / 5}) {
      EXPECT_GT(share, 0);
      EXPECT_LT(share, 1);
    }
    std::sort(order.begin(), order.end());
    std::vector<std::int32_t> all(kNeurons);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(order, all);
  }
}

}  // namespace
}  // namespace lacuna::test
