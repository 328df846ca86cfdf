// What the tests of the engine on a GPU run through it, and how near its results are to a forward in double.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "src/infer/cuda/cuda_inference.h"
#include "tests/infer/engine_runs.h"
#include "tests/infer/random_model.h"

namespace lacuna::test {

inline Engine gpu_engine(ModelSource source, const std::string& path, const std::string& dtype = "auto") {
  return Engine(std::move(source), {1, path, 0, gpu_backend({dtype})});
}

// Logits of all tokens: by steps of many, or one by one.
inline std::vector<float> all_logits(Engine& engine, std::span<const std::int32_t> ids, bool one_by_one) {
  if (!one_by_one) return all_logits(engine, ids);
  std::vector<float> out;
  engine.reset();
  for (std::int32_t id : ids) {
    const std::span<const float> logits = engine.decode(id);
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// How far a logit may be from the one in double, when the largest is `size`. `rounding`: of activations
// between products.
inline double close_bound(const ModelConfig& config, double rounding, double size) {
  // As for the CPU (tests/infer/engine_test.cpp): sums of each block in units of their terms' size; rounded
  // activations err by one rounding each, of which the square root of a width's worth add up.
  const double steps = static_cast<double>(config.hidden) / 8 + static_cast<double>(config.ffn) + 37 + 40;
  const double root = std::sqrt(static_cast<double>(config.ffn));
  return static_cast<double>(config.layers) * (steps * root * 0x1p-24 + 8 * rounding) * size;
}

inline void expect_close(const std::vector<float>& got, const Reference& want, const ModelConfig& config,
                         double rounding, const std::string& what) {
  double size = 0;
  for (const auto& row : want.logits)
    for (double logit : row) size = std::max(size, std::abs(logit));
  const double bound = close_bound(config, rounding, size);
  const auto vocab = static_cast<std::size_t>(config.vocab);
  ASSERT_EQ(got.size(), want.logits.size() * vocab);
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want.logits[i / vocab][i % vocab], bound) << what << ", token " << i / vocab;
}

// Twenty tokens, one by one: every logit within bound(largest of its token) of the CPU's.
template <class Bound>
void expect_alike(RandomModel& gpu, RandomModel& cpu, Bound&& bound, const std::string& what) {
  for (std::int32_t t = 0; t < 20; ++t) {
    const std::int32_t id = t * 2;
    gpu.backend().step({&id, 1}, t);
    cpu.backend().step({&id, 1}, t);
    const ConstRows got = gpu.backend().logits(0, 1), want = cpu.backend().logits(0, 1);
    const std::int64_t vocab = small_config(Activation::Silu).vocab;
    double size = 0;
    for (std::int64_t i = 0; i < vocab; ++i) size = std::max(size, std::abs(double{want.row(0)[i]}));
    for (std::int64_t i = 0; i < vocab; ++i)
      ASSERT_NEAR(got.row(0)[i], want.row(0)[i], bound(size)) << what << ", token " << t;
  }
}

}  // namespace lacuna::test
