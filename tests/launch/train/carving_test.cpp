// recipe cmoe on a real model, as a program: with all experts on the child is its parent, in the trainer and
// in the engine.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include "src/data/token_file.h"
#include "tests/infer/engine_runs.h"
#include "tests/launch/train/training.h"

namespace lacuna::test {
namespace {

using CarvingProgram = Training;

double nll_of(const Json& report, const std::string& model) {
  for (const Json& row : report["models"])
    if (row["model"] == model) return row["nll"].get<double>();
  ADD_FAILURE() << "no model '" << model << "' in " << report.dump();
  return 0;
}

// The largest difference over the largest value.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    size = std::max(size, std::abs(static_cast<double>(b[i])));
  }
  return most / size;
}

// The neurons stand in another order, so the chain of sums of each down projection has other roundings: after
// src/convert/self_check.h √(2 · 8 layers) · √1,152 neurons · 2^-24 = 8e-6 of a logit's size, were all of the
// residual stream made by FFNs. The bound was fixed beforehand: 1e-6 of the largest logit.
TEST_F(CarvingProgram, WithAllExpertsOnARealModelIsItsParent) {
  const std::string parent = std::filesystem::absolute(data_folder()) / "models/books17m";
  ASSERT_EQ(lacuna("tokenize -m " + quoted(parent) + " --text text.txt -o real.h5").exit_code, 0);
  const auto carve = [&](const std::string& active, const std::string& more) {
    const Json result =
        answer("recipe cmoe --quiet -m " + quoted(parent) + " --data real.h5 -o run" + active +
               " --steps 0 --seq-len 128 --global-batch 4 --calibration-tokens 512 "
               "--check-tokens 0 --shared 3 --active " +
               active + more);
    answer("export -m run" + active + " -o model" + active);
    return result;
  };
  const Json report = carve("5", " --report yes --texts real.h5 --windows 4")["report"];
  carve("4", "");  // an expert less is another function
  const double dense = nll_of(report, "dense");
  EXPECT_NEAR(nll_of(report, "routed linear"), dense, 1e-6 * dense);

  std::vector<std::int32_t> ids(256);
  TokenFile(path("real.h5")).read(1000, static_cast<std::int64_t>(ids.size()), ids.data());
  const auto logits = [&](const std::string& model) { return all_logits(*Engine::load(model, {}), ids); };
  const std::vector<float> want = logits(parent), all = logits(path("model5"));
  EXPECT_LE(difference(all, want), 1e-6);
  EXPECT_GT(difference(all, want), 0);  // the order did change
  EXPECT_GT(difference(logits(path("model4")), want), 1e-3);
}

}  // namespace
}  // namespace lacuna::test
