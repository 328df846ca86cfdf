// The real models of the test data: shapes, values and companions as their authors' tools wrote them.
#include <cmath>

#include "src/arch/parameters.h"
#include "src/format/model_source.h"
#include "src/format/safetensors.h"
#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

std::string model(const std::string& name) {
  return test::data_folder() + "/models/" + name;
}

void expect_all_parameters(const ModelSource& source) {
  for (const Parameter& parameter : parameters(source.config())) {
    const TensorView& view = source.tensor(parameter.name);
    EXPECT_EQ(view.shape, parameter.shape) << parameter.name;
    std::vector<float> values(static_cast<std::size_t>(parameter.elements()));
    source.copy(parameter.name, DType::F32, values.data());
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * value;
    EXPECT_TRUE(std::isfinite(squares) && squares > 0) << parameter.name;
    EXPECT_EQ(static_cast<double>(values.back()), load_as_double(view.data, view.dtype, values.size() - 1))
        << parameter.name;
  }
}

TEST(RealModels, Stories656kHasOnlyTheHeadsNameForBothTiedTensors) {
  const ModelSource source = ModelSource::open(model("stories656k"));
  const ModelConfig& config = source.config();
  EXPECT_EQ(source.kind(), "hf folder");
  EXPECT_EQ(config.hidden, 128);
  EXPECT_EQ(config.ffn, 384);
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab, 2048);
  EXPECT_EQ(config.max_positions, 512);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_EQ(config.eos_ids, std::vector<std::int64_t>{2});
  EXPECT_EQ(parameter_count(config), 656000);
  EXPECT_EQ(source.tensor("lm_head.weight").data, source.tensor("model.embed_tokens.weight").data);
  EXPECT_EQ(source.stored_dtype("model.norm.weight"), DType::F32);
  EXPECT_FALSE(source.bundled());
  EXPECT_EQ(source.companions().count("tokenizer.json"), 1u);
  EXPECT_EQ(source.companions().size(), 3u);
  EXPECT_EQ(source.tokenizer_path(), model("stories656k"));
  expect_all_parameters(source);
}

TEST(RealModels, Books17mIsBf16InThreeShardsWithTheNewConfig) {
  const ModelSource source = ModelSource::open(model("books17m"));
  const ModelConfig& config = source.config();
  EXPECT_EQ(config.hidden, 384);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rope_scaling.kind, "none");
  EXPECT_EQ(config.bos_id, 0);
  EXPECT_EQ(config.eos_ids, std::vector<std::int64_t>{1});
  EXPECT_EQ(parameter_count(config), 16914816);
  EXPECT_EQ(source.stored_dtype("model.layers.7.mlp.down_proj.weight"), DType::BF16);
  expect_all_parameters(source);
}

TEST(RealModels, Stories260kFindsItsTokenizerAndFillsTheFile) {
  const ModelSource source = ModelSource::open(model("stories260k/stories260K.bin"));
  const ModelConfig& config = source.config();
  EXPECT_EQ(source.kind(), "llama2.c file");
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.ffn, 172);
  EXPECT_EQ(config.layers, 5);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.vocab, 512);
  EXPECT_EQ(config.max_positions, 512);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_EQ(source.companions().at("tokenizer.bin").size(), 6227u);
  EXPECT_EQ(source.tokenizer_path(), model("stories260k/tok512.bin"));
  expect_all_parameters(source);
}

TEST(RealModels, ActivationStatisticsAreReadableSafetensors) {
  const SafetensorsFile file(test::data_folder() + "/teal_stats/Llama-2-7B.safetensors");
  EXPECT_FALSE(file.entries().empty());
  std::uint64_t at = 0;
  for (const SafetensorsEntry& entry : file.entries()) {
    EXPECT_EQ(entry.begin, at);
    at = entry.end;
    EXPECT_EQ(file.data(entry).size(), entry.end - entry.begin);
    EXPECT_EQ(file.find(entry.name), &entry);
  }
}

}  // namespace
}  // namespace lacuna
