// Real models on a GPU against golden files that other implementations computed in fp64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/eval/perplexity.h"
#include "src/infer/cuda/cuda_inference.h"
#include "src/text/tokenizer.h"
#include "tests/eval/held_out.h"

namespace lacuna {
namespace {

using namespace test;

std::string model_path() {
  return data_folder() + "/models/books17m";
}

std::unique_ptr<Engine> engine_in(const std::string& dtype) {
  return Engine::load(model_path(), {1, "auto", 0, gpu_backend({dtype})});
}

Json golden() {
  return parse_json(read_file(model_path() + "/golden.json", 1 << 20), "golden.json");
}

struct Bounds {
  const char* dtype;
  double nll, logits;
};
constexpr Bounds kBounds[] = {{"fp32", 1e-4, 2e-3}, {"bf16", 2e-3, 0.15}};

TEST(CudaGolden, Books17mHeldOutLoss) {
  const Json want = golden()["held_out_ppl_window_512"]["shakespeare_tail"];
  const std::string text =
      last_characters(read_file(data_folder() + "/tinyshakespeare/input.txt", 1 << 24), 100'000);
  const std::vector<std::int32_t> ids = load_tokenizer(model_path())->encode(text, false);
  for (const Bounds& bounds : kBounds) {
    const Perplexity got = perplexity(*engine_in(bounds.dtype), ids, {512, 64});
    EXPECT_EQ(got.predicted, want["predicted"].get<std::int64_t>());
    EXPECT_NEAR(got.nll, want["nll"].get<double>(), bounds.nll) << bounds.dtype;
    std::printf("%s: nll %.7f, golden %.7f\n", bounds.dtype, got.nll, want["nll"].get<double>());
  }
}

// Along the golden continuation the token is ours too, unless the two logits are closer than both errors.
TEST(CudaGolden, Books17mGreedyContinuations) {
  const Json want = golden();
  for (const Bounds& bounds : kBounds) {
    const std::unique_ptr<Engine> engine = engine_in(bounds.dtype);
    std::size_t equal = 0, all = 0;
    double worst = 0;
    for (const Json& prompt : want["prompts"]) {
      SCOPED_TRACE(prompt["prompt"].get<std::string>() + " " + bounds.dtype);
      const auto ids = prompt["greedy"].get<std::vector<std::int32_t>>();
      const std::size_t start = prompt["ids"].size();
      engine->reset();
      std::span<const float> logits = engine->prefill(std::span(ids).first(start));
      for (std::size_t i = 0; i < prompt["last_logits"].size(); ++i) {
        const double error = std::abs(logits[i] - prompt["last_logits"][i].get<double>());
        worst = std::max(worst, error);
        EXPECT_LE(error, bounds.logits);
      }
      for (std::size_t i = start; i < ids.size(); ++i) {
        const auto best = std::max_element(logits.begin(), logits.end());
        EXPECT_LE(*best - logits[static_cast<std::size_t>(ids[i])], 2 * bounds.logits) << i;
        equal += best - logits.begin() == ids[i];
        ++all;
        logits = engine->decode(ids[i]);
      }
    }
    std::printf("%s: %zu of %zu greedy tokens, largest difference of a logit after a prompt %.2e\n",
                bounds.dtype, equal, all, worst);
    EXPECT_GE(equal, all - all / 50);
  }
}

}  // namespace
}  // namespace lacuna
