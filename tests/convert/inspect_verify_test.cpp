#include <cmath>
#include <filesystem>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/export.h"
#include "src/convert/inspect.h"
#include "src/convert/verify.h"
#include "src/data/token_file.h"
#include "src/format/model_writer.h"
#include "src/text/tokenizer.h"
#include "tests/convert/toy_model.h"

namespace lacuna {
namespace {

// Flips one bit of a file.
void damage(const std::string& path, std::size_t at) {
  std::string bytes = read_file(path, 1 << 24);
  ASSERT_LT(at, bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 4);
  test::put_file(path, bytes);
}

std::string only_problem(const VerifyReport& report) {
  EXPECT_EQ(report.problems.size(), 1u);
  return report.problems.empty() ? "" : report.problems.front();
}

TEST(Inspect, CheckpointRunAndExportTellTheSameStory) {
  const test::TempFolder folder;
  ModelConfig config = test::small_config();
  config.activation = Activation::Drelu;
  test::put_checkpoint(folder / "run", config, DType::BF16, 5);
  const std::string step = test::put_checkpoint(folder / "run", config, DType::F32, 7);
  export_model({folder / "run", folder / "out", std::nullopt, false, 1, ""});
  const Json run = inspect(folder / "run"), checkpoint = inspect(step), model = inspect(folder / "out");
  EXPECT_EQ(run["kind"], "run");
  EXPECT_EQ(run["step"], 7);
  EXPECT_EQ(run["tokens"], 7000);
  EXPECT_EQ(run["steps"], Json::array({7, 5}));
  EXPECT_EQ(run["rejected"], Json::array());
  EXPECT_EQ(run["parameters"], parameter_count(config));
  EXPECT_EQ(run["layout"]["pp"], 2);
  EXPECT_EQ(run["optimizer_state"], true);
  EXPECT_EQ(run["content_hash"], checkpoint["content_hash"]);
  EXPECT_EQ(checkpoint["kind"], "checkpoint");
  EXPECT_EQ(model["kind"], "lacuna folder");
  EXPECT_EQ(model["bundled"], true);
  EXPECT_EQ(model["config"], run["config"]);
  EXPECT_EQ(model["dtypes"]["F32"], 4 * parameter_count(config));
  EXPECT_EQ(model["tokenizer"], nullptr);
  EXPECT_NE(model["content_hash"], run["content_hash"]) << "the checkpoint's covers the optimizer too";
}

TEST(Inspect, RealFilesOfEveryKind) {
  const std::string data = test::data_folder();
  const Json story = inspect(data + "/models/stories656k");
  EXPECT_EQ(story["kind"], "hf folder");
  EXPECT_EQ(story["parameters"], 656000);
  EXPECT_EQ(story["tokenizer"]["vocab"], 2048);
  EXPECT_EQ(inspect(data + "/models/stories260k/stories260K.bin")["kind"], "llama2.c file");
  EXPECT_EQ(inspect(data + "/models/stories260k/tok512.bin")["tokenizer"]["vocab"], 512);
  EXPECT_EQ(inspect(data + "/tokenizers/llama2/tokenizer.model")["kind"], "tokenizer");
  EXPECT_EQ(inspect(data + "/tokenizers/gpt2")["tokenizer"]["vocab"], 50257);
  EXPECT_EQ(inspect(data + "/teal_stats/Llama-2-7B.safetensors")["kind"], "safetensors file");
  test::expect_refused([&] { inspect(data + "/SOURCES.md"); }, "neither a model");
  test::expect_refused([&] { inspect(data); }, "neither a model");
  test::expect_refused([&] { inspect(data + "/absent"); }, "no such file or folder");
}

TEST(Verify, NamesTheDamagedFileOfAModelFolder) {
  const test::TempFolder folder;
  test::put_checkpoint(folder / "run", test::small_config(), DType::F32, 1);
  const std::string out = folder / "out";
  export_model({folder / "run", out, std::nullopt, false, 1, ""});
  EXPECT_TRUE(verify(out).good());
  test::put_file(out + "/notes.txt", "a user's own file is no damage");
  EXPECT_TRUE(verify(out).good());
  test::put_file(out + "/extra.json", "{}");
  EXPECT_NE(only_problem(verify(out)).find("extra.json: SHA256SUMS does not list it"), std::string::npos);
  std::filesystem::remove(out + "/extra.json");
  const std::size_t size = std::filesystem::file_size(out + "/model.safetensors");
  damage(out + "/model.safetensors", size - 1);
  EXPECT_NE(only_problem(verify(out)).find("model.safetensors: its bytes are not those"), std::string::npos);
  damage(out + "/model.safetensors", size - 1);
  EXPECT_TRUE(verify(out).good());
  std::filesystem::remove(out + "/MODEL_CARD.md");
  EXPECT_NE(only_problem(verify(out)).find("MODEL_CARD.md: no such file"), std::string::npos);
  test::put_file(out + "/SHA256SUMS", "nonsense\n");
  EXPECT_NE(only_problem(verify(out)).find("line 1 is no 'SHA256  name'"), std::string::npos);
}

TEST(Verify, FindsValuesThatAreNoNumbers) {
  const test::TempFolder folder;
  const ModelConfig config = test::small_config();
  test::put_folder(folder.path(), config);
  std::filesystem::remove(folder / "model.safetensors");
  std::vector<OutputTensor> tensors = test::small_tensors(config);
  const auto fill = tensors[4].fill;
  tensors[4].fill = [fill](void* to) {
    fill(to);
    static_cast<float*>(to)[3] = std::nanf("");
  };
  write_model_shards(folder.path(), tensors);
  const std::string problem = only_problem(verify(folder.path()));
  EXPECT_NE(problem.find("'" + tensors[4].name + "' has a value that is no finite number at element 3"),
            std::string::npos);
}

TEST(Verify, ReadsEveryStepOfARun) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  const std::string first = test::put_checkpoint(run, test::small_config(), DType::F32, 1);
  test::put_checkpoint(run, test::small_config(), DType::F32, 2);
  EXPECT_EQ(verify(run).checks.size(), 2u);
  EXPECT_TRUE(verify(run).good());
  damage(first + "/rank-000.h5", std::filesystem::file_size(first + "/rank-000.h5") - 200);
  const VerifyReport report = verify(run);
  EXPECT_NE(only_problem(report).find("rank-000.h5"), std::string::npos) << only_problem(report);
  EXPECT_EQ(report.checks.size(), 1u);
}

TEST(Verify, TokenFilesAreReadWhole) {
  const test::TempFolder folder;
  TokenFileMeta meta;
  meta.tokenizer_files = read_tokenizer_files(test::data_folder() + "/models/stories656k");
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_from_files(meta.tokenizer_files, "stories656k");
  meta.vocab_size = tokenizer->vocab_size();
  meta.tokenizer_sha256 = tokenizer->sha256();
  meta.eos_id = 2;
  TokenFileWriter writer(folder / "tokens.h5", meta);
  const std::vector<std::int32_t> ids = {5, 6, 2047, 2};
  writer.add(ids.data(), 4);
  writer.end_document();
  writer.add(ids.data(), 2);
  writer.finish();
  const Json facts = inspect(folder / "tokens.h5");
  EXPECT_EQ(facts["kind"], "token file");
  EXPECT_EQ(facts["tokens"], 6);
  EXPECT_EQ(facts["documents"], 2);
  EXPECT_EQ(facts["tokenizer"]["vocab"], 2048);
  EXPECT_TRUE(verify(folder / "tokens.h5").good());
  std::string bytes = read_file(folder / "tokens.h5", 1 << 24);
  const std::string pattern("\x05\x00\x06\x00\xff\x07", 6);
  std::string changed = bytes;
  const std::size_t at = changed.find(pattern);
  if (at == std::string::npos) GTEST_SKIP() << "the tokens are compressed in this file";
  changed[at + 1] = '\x7f';
  test::put_file(folder / "tokens.h5", changed);
  EXPECT_NE(only_problem(verify(folder / "tokens.h5")).find("vocabulary"), std::string::npos);
}

TEST(Verify, SparsityFileMustFitTheModel) {
  ModelConfig config = test::small_config();
  config.activation = Activation::Drelu;
  SparsityInfo info{Activation::Drelu, 10, 0.75, {0.5, 1}};
  const std::string text = write_sparsity(info, config, true);
  EXPECT_EQ(read_sparsity(text, config, "s"), info);
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& part) {
    std::string other = text;
    const std::size_t at = other.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    other.replace(at, from.size(), to);
    test::expect_refused([&] { read_sparsity(other, config, "s"); }, part);
  };
  refused("\"version\": 1", "\"version\": 2", "version 2 is not supported");
  refused("\"drelu\"", "\"relu\"", "activation relu, config.json says drelu");
  refused("\"drelu\"", "\"gelu\"", "unknown activation 'gelu'");
  refused("0.75", "1.5", "a share of zeros is 1.5");
  refused("0.75", "\"x\"", "a share of zeros is");
  refused("\"tokens\": 10", "\"tokens\": 0", "measured on 0 tokens");
  refused("\"tokens\"", "\"tokenz\"", "'tokens' is missing");
  ModelConfig deeper = config;
  deeper.layers = 3;
  test::expect_refused([&] { read_sparsity(text, deeper, "s"); }, "2 layers, config.json says 3");
}

}  // namespace
}  // namespace lacuna
