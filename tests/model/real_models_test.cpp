// The trainer's own forward on real pretrained weights, in fp64, against logits and losses that other
// implementations computed. Their rotary angles are rounded to float: position·2^-24 radians, which bounds
// how closely they can be met.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/format/model_source.h"
#include "src/model/llama_stage.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

Json golden(const std::string& model) {
  const std::string path = data_folder() + "/models/" + model + "/golden.json";
  return parse_json(read_file(path, 1 << 20), path);
}

// Runs one sequence through a model of one stage; target i is token i + 1, the last token has none.
class RealModel {
 public:
  RealModel(const std::string& path, std::vector<std::int32_t> ids)
      : source_(ModelSource::open(path)),
        stage_(options(source_.config(), static_cast<std::int64_t>(ids.size()))) {
    at::set_num_threads(1);
    for (LocalParameter& p : stage_.parameters().all())
      source_.copy(p.spec.name, DType::F64, p.weight.data_ptr());
    StepBatch batch;
    batch.targets.assign(ids.begin() + 1, ids.end());
    batch.targets.push_back(-1);
    batch.tokens = std::move(ids);
    batch.micros = 1;
    std::vector<std::int64_t> all;
    for (std::size_t i = 0; i < batch.tokens.size(); ++i) all.push_back(static_cast<std::int64_t>(i));
    stage_.keep_logits(all);
    stage_.begin_step(std::move(batch));
    at::Tensor stash = at::empty({static_cast<std::int64_t>(stage_.piece_bytes(0, 0))}, at::kByte);
    std::byte* piece = static_cast<std::byte*>(stash.data_ptr());
    stage_.forward(0, 0, nullptr, nullptr, {&piece, 1});
  }

  double loss() const { return stage_.micro_loss(0); }
  std::span<const double> logits(std::size_t position) const {
    const auto vocab = static_cast<std::size_t>(source_.config().vocab);
    return std::span(stage_.kept_logits()[0]).subspan(position * vocab, vocab);
  }
  double norm() const {
    double squares = 0;
    for (double logit : stage_.kept_logits()[0]) squares += logit * logit;
    return std::sqrt(squares);
  }

 private:
  static LlamaStageOptions options(const ModelConfig& config, std::int64_t tokens) {
    LlamaStageOptions out;
    out.config = config;
    out.shape = {1, tokens, 1, DType::F64};
    out.cuts = {{0, static_cast<int>(config.layers)}};
    out.my_stages = {0};
    return out;
  }

  ModelSource source_;
  LlamaStage stage_;
};

// Golden files of fp32 weights whose forward kept sums in fp64: six digits.
void check_positions(const std::string& model, const std::string& path) {
  const Json want = golden(model);
  const auto ids = want["token_ids"].get<std::vector<std::int32_t>>();
  const RealModel real(path, ids);
  for (const Json& entry : want["positions"]) {
    const std::span<const double> logits = real.logits(entry["pos"].get<std::size_t>());
    for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(logits[i], entry["logits_0_7"][i].get<double>(), 1e-4);
  }
  const double predicted = static_cast<double>(ids.size() - 1);
  EXPECT_NEAR(real.loss() / predicted, want["mean_nll"].get<double>(), 1e-5);
}

TEST(RealModels, Stories656k) {
  check_positions("stories656k", data_folder() + "/models/stories656k");
}

TEST(RealModels, Stories260k) {
  check_positions("stories260k", data_folder() + "/models/stories260k/stories260K.bin");
}

TEST(RealModels, Books17m) {
  const Json want = golden("books17m");
  for (const Json& prompt : want["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<std::int32_t>>();
    const RealModel real(data_folder() + "/models/books17m", ids);
    const std::span<const double> last = real.logits(ids.size() - 1);
    for (std::size_t i = 0; i < prompt["last_logits"].size(); ++i)
      EXPECT_NEAR(last[i], prompt["last_logits"][i].get<double>(), 1e-4);
    const double norm = prompt["norm"].get<double>();
    EXPECT_NEAR(real.norm(), norm, 1e-6 * norm);
  }
}

}  // namespace
}  // namespace lacuna::test
