// The CPU's choice of experts is the reference's (kernels/routing.h), ties and broken numbers included; the
// GPU's is held to the same reference (tests/kernels/cuda/decode_route_test.cpp).
#include "src/infer/router.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/routing.h"
#include "tests/infer/random_model.h"

namespace lacuna {
namespace {

using namespace test;

constexpr std::int64_t kExperts = 9, kTokens = 40;

// Normal numbers, rounded coarsely where many shall be equal.
std::vector<float> numbers(const char* name, std::int64_t count, bool coarse) {
  std::vector<float> out;
  const std::uint64_t key = rng_key(4, name);
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = rng_normal(key, static_cast<std::uint64_t>(i));
    out.push_back(static_cast<float>(coarse ? std::round(value) : value));
  }
  return out;
}

struct Case {
  std::int64_t active;
  bool threshold, coarse, scaled, broken;
};

void check(const Case& c) {
  ModelConfig config = small_config(Activation::Silu);
  config.routed.experts = kExperts;
  config.routed.active = {c.active};
  config.routed.shared = {7};
  config.routed.threshold = c.threshold;
  config.complete_and_check("routed model");
  RouterWeights weights;
  weights.neurons = routed_layer(config.routed, config.ffn, 0);
  weights.bias = numbers("bias", kExperts, c.coarse);
  weights.scale = c.scaled ? numbers("scale", kExperts, false) : std::vector<float>(kExperts, 0);
  std::vector<float> scores = numbers("scores", kTokens * kExperts, c.coarse);
  for (std::size_t i = 0; c.broken && i < scores.size(); i += 7) scores[i] = std::nanf("");
  ThreadPool pool(1);
  std::vector<Scratch> scratch(1);
  Router router(config, pool, scratch);
  const std::vector<float> x(static_cast<std::size_t>(kTokens));
  const std::span<const float> got = router.gates_of_scores(weights, scores, {x.data(), kTokens, 1, 1}, 0);
  const std::vector<double> bias(weights.bias.begin(), weights.bias.end()),
      scale(weights.scale.begin(), weights.scale.end()), wide(scores.begin(), scores.end());
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> want(kExperts);
    routing_ref({kExperts, c.active, c.threshold, bias.data(), c.scaled ? scale.data() : nullptr},
                wide.data() + t * kExperts, want.data());
    for (std::size_t e = 0; e < want.size(); ++e) {
      const double gate = got[static_cast<std::size_t>(t) * kExperts + e];
      ASSERT_EQ(gate == 0, want[e] == 0) << "token " << t << " expert " << e;
      // exp, a sum of 9, a quotient, a product and a sum
      ASSERT_NEAR(gate, want[e], (9 + 8) * 0x1p-24 * (1 + std::abs(want[e]))) << "token " << t;
    }
  }
}

TEST(Router, ChoosesAsTheReference) {
  for (const std::int64_t active : {0, 1, 4, 9})
    for (const bool coarse : {false, true})
      for (const bool scaled : {false, true}) check({active, false, coarse, scaled, false});
  for (const bool scaled : {false, true}) check({3, true, false, scaled, false});
  for (const std::int64_t active : {1, 2, 5}) check({active, false, true, false, true});
  check({3, true, true, false, true});
}

}  // namespace
}  // namespace lacuna
