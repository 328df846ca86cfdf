// Import and export as a pair: equal bytes there and back, for real models and for every form of a toy.
#include <cstring>
#include <filesystem>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/convert/checkpoint_source.h"
#include "src/convert/export.h"
#include "src/convert/import.h"
#include "src/convert/inspect.h"
#include "src/convert/verify.h"
#include "src/format/detect.h"
#include "src/format/model_writer.h"
#include "tests/convert/toy_model.h"

namespace lacuna {
namespace {

void expect_equal_tensors(const ModelSource& a, const ModelSource& b) {
  ASSERT_EQ(a.config(), b.config());
  for (const Parameter& parameter : parameters(a.config())) {
    const DType dtype = a.stored_dtype(parameter.name);
    ASSERT_EQ(dtype, b.stored_dtype(parameter.name)) << parameter.name;
    std::vector<std::byte> left(static_cast<std::size_t>(parameter.elements()) * size_of(dtype)),
        right(left.size());
    a.copy(parameter.name, dtype, left.data());
    b.copy(parameter.name, dtype, right.data());
    EXPECT_TRUE(left == right) << parameter.name;
  }
}

ImportReport import(const std::string& model, const std::string& out, bool force = false) {
  ImportOptions options;
  options.model = model;
  options.out = out;
  options.force = force;
  options.threads = 1;
  return import_model(options);
}

ExportReport export_to(const std::string& model, const std::string& out,
                       std::optional<DType> dtype = std::nullopt, bool force = false) {
  return export_model({model, out, dtype, force, 1, "lacuna export -m " + model + " -o " + out});
}

TEST(RoundTrip, RealModelsComeBackByteForByte) {
  const test::TempFolder folder;
  for (const std::string& name :
       {std::string("stories656k"), std::string("books17m"), std::string("stories260k/stories260K.bin")}) {
    SCOPED_TRACE(name);
    const std::string path = test::data_folder() + "/models/" + name,
                      label = std::filesystem::path(name).stem();
    const ImportReport imported = import(path, folder / (label + ".ck"));
    EXPECT_TRUE(is_checkpoint(imported.checkpoint));
    EXPECT_FALSE(imported.tokenizer_kind.empty());
    const ExportReport exported = export_to(folder / (label + ".ck"), folder / (label + ".out"));
    EXPECT_TRUE(exported.check.passed());
    EXPECT_EQ(exported.check.worst_abs, 0) << "the same engine on the same bytes";
    EXPECT_GT(exported.check.abs_bound, 0);
    EXPECT_LT(exported.check.abs_bound, 0.1);
    const ModelSource before = ModelSource::open(path), after = ModelSource::open(exported.folder);
    const ModelSource between = open_any_model(folder / (label + ".ck"));
    expect_equal_tensors(before, after);
    expect_equal_tensors(before, between);
    EXPECT_EQ(before.companions(), after.companions());
    EXPECT_EQ(before.companions(), between.companions());
    const std::string hash = content_hash(before).hex();
    EXPECT_EQ(imported.content_hash, hash);
    EXPECT_EQ(content_hash(after).hex(), hash);
    EXPECT_TRUE(verify(exported.folder).good());
    EXPECT_TRUE(verify(imported.checkpoint).good());
  }
}

TEST(RoundTrip, EveryFormOfAToyModelReadsBack) {
  ModelConfig base = test::small_config(), tied = base, relu = base, drelu = base, qwen2 = base, qwen3 = base;
  tied.tied_embeddings = true;
  relu.activation = Activation::Relu;
  drelu.activation = Activation::Drelu;
  qwen2.family = "qwen2";
  qwen2.qkv_bias = true;
  qwen3.family = "qwen3";
  qwen3.qk_norm = true;
  qwen3.head_dim = 8;
  qwen3.activation = Activation::Drelu;
  qwen3.tied_embeddings = true;
  int number = 0;
  const test::TempFolder folder;
  for (const ModelConfig& config : {base, tied, relu, drelu, qwen2, qwen3})
    for (const DType dtype : {DType::F32, DType::BF16, DType::F64}) {
      const std::string run = folder / ("run" + std::to_string(++number)), out = run + ".out";
      SCOPED_TRACE(fmt::format("{} {} {}", config.family, name_of(config.activation), name_of(dtype)));
      const std::string step = test::put_checkpoint(run, config, dtype, 12);
      const ExportReport report = export_to(run, out);
      EXPECT_EQ(report.checkpoint, step);
      const bool own = config.activation == Activation::Drelu;
      EXPECT_EQ(detect(out), own ? PathKind::LacunaFolder : PathKind::HfFolder);
      const ModelSource source = ModelSource::open(out);
      EXPECT_EQ(source.bundled(), own);
      expect_equal_tensors(open_checkpoint(step), source);
      EXPECT_EQ(std::filesystem::exists(out + "/sparsity.json"), config.activation != Activation::Silu);
      EXPECT_TRUE(verify(out).good());
      if (!own) continue;
      EXPECT_FALSE(source.has("model.layers.1.mlp.up_proj.weight"));
      EXPECT_EQ(source.tensor("model.layers.1.mlp.up_down.weight").shape,
                (std::vector<std::int64_t>{10, 2, 12}));
      EXPECT_GT(report.check.sparsity.ffn_sparsity, 0.5);
      const ImportReport again = import(out, run + ".again");
      expect_equal_tensors(open_checkpoint(again.checkpoint), source);
    }
}

ModelConfig routed_config(RouterKind kind, Activation activation) {
  ModelConfig config = test::small_config();
  config.activation = activation;
  config.routed.experts = 3;
  config.routed.active = {1};
  config.routed.shared = {4, 2};
  config.routed.router = kind;
  config.routed.rank = config.routed.has_rows() ? 2 : 0;
  config.routed.threshold = kind == RouterKind::LowRank;
  config.routed.seed = 4;
  return config;
}

// Two uses: config.json and the shards are the dense model's, the rest lies in files of its own.
TEST(RoundTrip, RoutedModelsReadBackAndAreTheDenseModelToOthers) {
  int number = 0;
  const test::TempFolder folder;
  for (const RouterKind kind : {RouterKind::Linear, RouterKind::LowRank, RouterKind::Neuron,
                                RouterKind::Oracle, RouterKind::Random, RouterKind::None})
    for (const Activation activation : {Activation::Silu, Activation::Drelu}) {
      const ModelConfig config = routed_config(kind, activation);
      const std::string run = folder / ("run" + std::to_string(++number)), out = run + ".out";
      SCOPED_TRACE(name_of(kind) + " " + name_of(activation));
      const std::string step = test::put_checkpoint(run, config, DType::F32, 2);
      EXPECT_EQ(export_to(run, out).check.worst_abs, 0);
      const ModelSource source = ModelSource::open(out);
      EXPECT_EQ(source.config().routed, config.routed);
      expect_equal_tensors(open_checkpoint(step), source);
      EXPECT_TRUE(verify(out).good());
      const ImportReport again = import(out, run + ".again");
      EXPECT_EQ(CheckpointReader(again.checkpoint).meta().config.routed, config.routed);
      expect_equal_tensors(open_checkpoint(again.checkpoint), source);

      ModelConfig dense = config;
      dense.routed = {};
      test::put_checkpoint(run + ".dense", dense, DType::F32, 2);
      export_to(run + ".dense", run + ".dense.out");
      for (const char* name : {"config.json", "generation_config.json", "model.safetensors"})
        EXPECT_EQ(read_file(out + "/" + name, 1 << 24), read_file(run + ".dense.out/" + name, 1 << 24))
            << name;
    }
}

// Weights rounded to bf16 move scores: choices that are then others follow the probe's, and only those may.
TEST(Export, FollowsTheProbesExpertsAsFarAsRoundingExcuses) {
  const test::TempFolder folder;
  ModelConfig config = routed_config(RouterKind::Linear, Activation::Silu);
  config.routed.experts = 6;
  config.routed.active = {3};
  test::put_checkpoint(folder / "run", config, DType::F32, 1);
  const SelfCheck check = export_to(folder / "run", folder / "out", DType::BF16).check;
  EXPECT_LT(check.doubt, check.doubt_bound);
  EXPECT_GT(check.doubt_bound, 0);

  const CheckpointReader reader(folder / "run");
  Probe probe = reader.meta().probe;
  for (std::size_t i = 0; i < 6; ++i)
    probe.routes[1][i] = 1 - probe.routes[1][i];  // token 0: the other three
  const SelfCheck other = self_check(folder / "out", probe, DType::BF16, 1);
  EXPECT_FALSE(other.passed());
  EXPECT_GT(other.doubt, other.doubt_bound);
  probe = reader.meta().probe;
  probe.routes[1][0] = 1 - probe.routes[1][0];  // one more or one less
  EXPECT_EQ(self_check(folder / "out", probe, DType::BF16, 1).doubt, std::numeric_limits<double>::infinity());
  probe.routes[1].pop_back();
  test::expect_refused([&] { self_check(folder / "out", probe, DType::BF16, 1); },
                       "has 59 routes for 5 tokens");
}

TEST(Export, NeverRoundsARouter) {
  const test::TempFolder folder;
  test::put_checkpoint(folder / "run", routed_config(RouterKind::Random, Activation::Silu), DType::F32, 1);
  export_to(folder / "run", folder / "out", DType::BF16);
  const ModelSource source = ModelSource::open(folder / "out");
  EXPECT_EQ(source.stored_dtype("model.layers.0.mlp.experts.mean"), DType::F32);
  EXPECT_EQ(source.stored_dtype("model.layers.0.mlp.gate_proj.weight"), DType::BF16);
}

TEST(RoutedFolder, RefusesWhatDoesNotFit) {
  const test::TempFolder folder;
  const std::string out = folder / "out";
  test::put_checkpoint(folder / "run", routed_config(RouterKind::Linear, Activation::Silu), DType::F32, 1);
  export_to(folder / "run", out);
  const std::string good = read_file(out + "/sparsity.json", 1 << 20);
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& part) {
    std::string bad = good;
    const std::size_t at = bad.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bad.replace(at, from.size(), to);
    test::put_file(out + "/sparsity.json", bad);
    test::expect_refused([&] { ModelSource::open(out); }, part);
  };
  refused("\"experts\": 3", "\"experts\": 0", "experts is 0, wanted at least 1");
  refused("\"experts\": 3", "\"experts\": 4", "has shape [3, 12], the configuration wants [4, 12]");
  refused("\"linear\"", "\"best\"", "unknown router 'best'");
  refused("\"linear\"", "\"none\"", "is no part of");
  refused("\"router_rank\": 0", "\"router_rank\": 2", "ffn-router-rank is 2, wanted 0 for the linear router");
  refused("\"align\": 1", "\"align\": -1", "ffn-align is -1");
  refused("\"threshold\"", "\"treshold\"", "unknown key 'treshold'");
  refused("\"sparsity.tensors\"", "\"../weights\"", "file is '../weights', wanted sparsity.tensors");
  refused("\"version\": 1", "\"version\": 3", "version 3 is not supported");
  test::put_file(out + "/sparsity.json", good);
  EXPECT_TRUE(verify(out).good());
  std::filesystem::remove(out + "/sparsity.tensors");
  test::expect_refused([&] { ModelSource::open(out); }, "sparsity.tensors");
}

// The bundle by hand: row i holds up's row i, then down's column i.
TEST(RoundTrip, BundleRowsAreUpThenDown) {
  ModelConfig config = test::small_config();
  config.activation = Activation::Drelu;
  const test::TempFolder folder;
  test::put_checkpoint(folder / "run", config, DType::F32, 1);
  export_to(folder / "run", folder / "out");
  const ModelSource source = ModelSource::open(folder / "out");
  const auto* bundle = static_cast<const float*>(source.tensor(bundle_name(1)).data);
  const std::string block = "model.layers.1.mlp.";
  for (std::int64_t neuron = 0; neuron < config.ffn; ++neuron)
    for (std::int64_t i = 0; i < config.hidden; ++i) {
      const float up = test::element(block + "up_proj.weight", neuron * config.hidden + i);
      const float down = test::element(block + "down_proj.weight", i * config.ffn + neuron);
      ASSERT_EQ(bundle[(2 * neuron) * config.hidden + i], 0.3f * up);
      ASSERT_EQ(bundle[(2 * neuron + 1) * config.hidden + i], 0.3f * down);
    }
}

TEST(Export, RoundsOnRequestAndWidensTheBound) {
  const test::TempFolder folder;
  test::put_checkpoint(folder / "run", test::small_config(), DType::F32, 1);
  const ExportReport exact = export_to(folder / "run", folder / "exact");
  const ExportReport rounded = export_to(folder / "run", folder / "rounded", DType::BF16);
  EXPECT_EQ(exact.check.worst_abs, 0);
  EXPECT_GT(rounded.check.worst_abs, exact.check.abs_bound) << "rounding is visible to the exact bound";
  EXPECT_LT(rounded.check.worst_abs, rounded.check.abs_bound);
  EXPECT_EQ(ModelSource::open(folder / "rounded").stored_dtype("model.norm.weight"), DType::BF16);
  test::put_checkpoint(folder / "narrow", test::small_config(), DType::BF16, 1);
  const ExportReport widened = export_to(folder / "narrow", folder / "wide", DType::F32);
  EXPECT_EQ(widened.check.worst_abs, 0);
  EXPECT_NEAR(widened.check.abs_bound, exact.check.abs_bound, 0.01 * exact.check.abs_bound)
      << "by the values alone";
}

TEST(Export, LogitsBeyondTheBoundLeaveNothingBehind) {
  const test::TempFolder folder;
  test::put_checkpoint(folder / "run", test::small_config(), DType::F32, 1);
  const double bound = export_to(folder / "run", folder / "out").check.abs_bound;
  test::put_checkpoint(folder / "near", test::small_config(), DType::F32, 1, 0.5 * bound);
  EXPECT_NO_THROW(export_to(folder / "near", folder / "near.out"));
  for (const double disturb : {1.5 * bound, -0.1, std::nan("")}) {
    const std::string run = folder / ("bad" + std::to_string(disturb));
    test::put_checkpoint(run, test::small_config(), DType::F32, 1, disturb);
    test::expect_refused([&] { export_to(run, run + ".out"); },
                         "does not reproduce the checkpoint's own logits");
    EXPECT_FALSE(std::filesystem::exists(run + ".out"));
  }
  int leftovers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    leftovers += entry.path().string().find(".tmp-") != std::string::npos;
  EXPECT_EQ(leftovers, 0);
}

void expect_usage(const std::function<void()>& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "accepted, wanted '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 64) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Export, ReplacesOnlyWhatItMayReplace) {
  const test::TempFolder folder;
  const std::string run = folder / "run", out = folder / "out";
  test::put_checkpoint(run, test::small_config(), DType::F32, 1);
  std::filesystem::create_directory(out);
  EXPECT_NO_THROW(export_to(run, out + "/")) << "an empty folder is as good as none";
  expect_usage([&] { export_to(run, out); }, "already exists");
  EXPECT_NO_THROW(export_to(run, out, DType::BF16, true));
  EXPECT_EQ(ModelSource::open(out).stored_dtype("model.norm.weight"), DType::BF16);
  const std::string home = folder / "home";
  std::filesystem::create_directory(home);
  test::put_file(home + "/thesis.txt", "precious");
  expect_usage([&] { export_to(run, home, std::nullopt, true); }, "this is something else");
  expect_usage([&] { export_to(run, run, std::nullopt, true); }, "this is something else");
  EXPECT_EQ(read_file(home + "/thesis.txt", 100), "precious");
  test::expect_refused([&] { export_to(folder / "absent", folder / "x"); }, "absent");
}

TEST(Import, ReplacesOnlyAnImportAndNamesItsSource) {
  const test::TempFolder folder;
  const std::string model = folder / "model", out = folder / "ck";
  std::filesystem::create_directory(model);
  test::put_folder(model, test::small_config());
  const ImportReport report = import(model, out);
  EXPECT_TRUE(report.tokenizer_kind.empty());
  EXPECT_EQ(CheckpointReader(out).meta().state.at("import.source"), model);
  expect_usage([&] { import(model, out); }, "already exists");
  EXPECT_NO_THROW(import(model, out, true));
  expect_usage([&] { import(out, folder / "y"); }, "is a checkpoint already");
  test::put_checkpoint(folder / "run", test::small_config(), DType::F32, 3);
  expect_usage([&] { import(model, folder / "run", true); }, "this is something else");
}

TEST(Import, ATokenizerThatIsTooLargeIsRefused) {
  const test::TempFolder folder;
  const std::string model = folder / "model";
  std::filesystem::create_directory(model);
  test::put_folder(model, test::small_config());
  test::put_file(model + "/tokenizer.json",
                 read_file(test::data_folder() + "/models/stories656k/tokenizer.json", 1 << 20));
  test::expect_refused([&] { import(model, folder / "ck"); },
                       "the tokenizer has 2048 tokens, the embedding only 17 rows");
  EXPECT_FALSE(std::filesystem::exists(folder / "ck"));
}

}  // namespace
}  // namespace lacuna
