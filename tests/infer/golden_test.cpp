// Real models against golden files that other implementations computed in fp64.
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/infer/engine.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

constexpr double kBound = 2e-3;  // of logits, for weights stored in bf16

Json golden(const std::string& model) {
  const std::string path = test::data_folder() + "/models/" + model + "/golden.json";
  return parse_json(read_file(path, 1 << 20), path);
}

std::string model_path(const std::string& name) {
  return test::data_folder() + "/models/" + name;
}

std::vector<std::int32_t> ids_of(const Json& array) {
  return array.get<std::vector<std::int32_t>>();
}

// Every position of a file made by an fp32 forward with fp64 sums: logits within 2e-4, losses within 1e-4.
void check_positions(const std::string& model, const std::string& path) {
  const Json want = golden(model);
  const std::vector<std::int32_t> ids = ids_of(want["token_ids"]);
  const std::unique_ptr<Engine> engine = Engine::load(path, {});
  std::int64_t checked = 0;
  double total = 0;
  engine->score(ids, [&](std::int64_t first, ConstRows logits) {
    for (std::int64_t t = 0; t < logits.count; ++t) {
      const auto position = static_cast<std::size_t>(first + t);
      if (position >= want["positions"].size()) continue;
      const Json& entry = want["positions"][position];
      ASSERT_EQ(entry["pos"].get<std::size_t>(), position);
      const float* row = logits.row(t);
      for (std::size_t i = 0; i < 8; ++i)
        EXPECT_NEAR(row[i], entry["logits_0_7"][i].get<double>(), 2e-4) << position;
      const float* top = std::max_element(row, row + logits.width);
      EXPECT_EQ(top - row, entry["argmax"].get<std::int64_t>());
      EXPECT_NEAR(*top, entry["max_logit"].get<double>(), 2e-4);
      double sum = 0;
      for (std::int64_t i = 0; i < logits.width; ++i) sum += std::exp(double{row[i]} - *top);
      const double nll = std::log(sum) + *top - row[ids[position + 1]];
      EXPECT_NEAR(nll, entry["nll_next"].get<double>(), 1e-4);
      total += nll;
      ++checked;
    }
  });
  EXPECT_EQ(checked, static_cast<std::int64_t>(ids.size()) - 1);
  EXPECT_NEAR(total / static_cast<double>(checked), want["mean_nll"].get<double>(), 1e-4);
}

TEST(Golden, Stories656k) {
  check_positions("stories656k", model_path("stories656k"));
}

TEST(Golden, Stories260kFromALlama2cFile) {
  check_positions("stories260k", model_path("stories260k") + "/stories260K.bin");
}

TEST(Golden, Books17mPrompts) {
  const Json want = golden("books17m");
  const std::unique_ptr<Engine> engine = Engine::load(model_path("books17m"), {});
  for (const Json& prompt : want["prompts"]) {
    SCOPED_TRACE(prompt["prompt"].get<std::string>());
    const std::vector<std::int32_t> ids = ids_of(prompt["ids"]);
    engine->reset();
    double squares = 0;
    engine->score(ids, [&](std::int64_t, ConstRows logits) {
      for (std::int64_t t = 0; t < logits.count; ++t)
        for (std::int64_t i = 0; i < logits.width; ++i)
          squares += double{logits.row(t)[i]} * logits.row(t)[i];
    });
    const double norm = prompt["norm"].get<double>();
    EXPECT_NEAR(std::sqrt(squares), norm, 1e-5 * norm);
    engine->reset();
    const std::span<const float> logits = engine->prefill(ids);
    for (std::size_t i = 0; i < prompt["last_logits"].size(); ++i)
      EXPECT_NEAR(logits[i], prompt["last_logits"][i].get<double>(), kBound);
    for (const Json& entry : prompt["top10"])
      EXPECT_NEAR(logits[entry[0].get<std::size_t>()], entry[1].get<double>(), kBound);
  }
}

// Along the golden continuation: the token is ours too, unless the two logits are closer than both errors.
TEST(Golden, Books17mGreedyContinuations) {
  const Json want = golden("books17m");
  const std::unique_ptr<Engine> engine = Engine::load(model_path("books17m"), {});
  for (const Json& prompt : want["prompts"]) {
    SCOPED_TRACE(prompt["prompt"].get<std::string>());
    const std::vector<std::int32_t> ids = ids_of(prompt["greedy"]);
    const std::size_t start = prompt["ids"].size();
    ASSERT_EQ(ids.size(), start + 96);
    engine->reset();
    std::span<const float> logits = engine->prefill(std::span(ids).first(start));
    std::size_t equal = 0;
    for (std::size_t i = start; i < ids.size(); ++i) {
      const auto best = std::max_element(logits.begin(), logits.end());
      EXPECT_LE(*best - logits[static_cast<std::size_t>(ids[i])], 2 * kBound) << i;
      equal += best - logits.begin() == ids[i];
      logits = engine->decode(ids[i]);
    }
    EXPECT_GE(equal, 94u);
  }
}

}  // namespace
}  // namespace lacuna
