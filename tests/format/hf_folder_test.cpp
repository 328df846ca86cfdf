// Folders against their index and configuration (rules I46-I58, C70-C71): each test breaks one thing of a
// valid folder.
#include "src/format/hf_folder.h"

#include <nlohmann/json.hpp>

#include <filesystem>

#include "src/base/file.h"
#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

using Object = nlohmann::ordered_json;
using test::expect_refused;

class Folder : public testing::Test {
 protected:
  Folder() { test::put_folder(path(), test::small_config(), 1500); }  // several shards
  const std::string& path() const { return folder_.path(); }
  std::string file(const std::string& name) const { return folder_ / name; }
  void edit_index(const std::function<void(Object&)>& edit) {
    Object index = Object::parse(read_file(file("model.safetensors.index.json"), 1 << 20));
    edit(index);
    test::put_file(file("model.safetensors.index.json"), index.dump());
  }
  void map_to(const std::string& shard) {
    edit_index([&](Object& index) { index["weight_map"]["model.norm.weight"] = shard; });
  }
  void refused(const std::string& part) {
    expect_refused([&] { ModelSource::open(path()); }, part);
  }
  test::TempFolder folder_;
};

TEST_F(Folder, IsReadBackValueForValue) {
  const ModelSource source = ModelSource::open(path());
  EXPECT_GT(open_shards(path()).size(), 2u);
  EXPECT_EQ(source.config(), test::small_config());
  for (const Parameter& parameter : parameters(source.config())) {
    std::vector<float> values(static_cast<std::size_t>(parameter.elements()));
    source.copy(parameter.name, DType::F32, values.data());
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(values[i], test::element(parameter.name, static_cast<std::int64_t>(i)))
          << parameter.name << i;
  }
  EXPECT_EQ(source.tensors().size(), parameters(source.config()).size());
  expect_refused([&] { source.tensor("nonsense"); }, "no tensor 'nonsense'");
}

TEST_F(Folder, I46_I47_I48_I57_ShardNamesThatAreNoPlainNames) {
  const std::string elsewhere = std::string(300, 'a');
  for (const std::string& name :
       {std::string("../x.safetensors"), std::string("/etc/passwd"), std::string("a\\b"), std::string("C:x"),
        std::string("sub/x.safetensors"), std::string(".hidden"), std::string(""), std::string("a\nb"),
        std::string("a\0b", 3), elsewhere}) {
    map_to(name);
    refused("is not allowed");
  }
}

TEST_F(Folder, I49_SymbolicLinksStayInTheFolder) {
  const test::TempFolder other;
  const std::string name = "model-00002-of-";
  std::string shard;
  for (const auto& entry : std::filesystem::directory_iterator(path()))
    if (entry.path().filename().string().starts_with(name)) shard = entry.path().filename().string();
  std::filesystem::rename(file(shard), other / shard);
  std::filesystem::create_symlink(other / shard, file(shard));
  refused("a symbolic link out of its folder");
  std::filesystem::remove(file(shard));
  std::filesystem::create_symlink("nowhere", file(shard));
  refused("a symbolic link to nowhere");
  std::filesystem::remove(file(shard));
  std::filesystem::rename(other / shard, file("kept"));
  std::filesystem::create_symlink("kept", file(shard));
  EXPECT_NO_THROW(ModelSource::open(path()));
}

TEST(HfCache, SnapshotsOfLinksToBlobsAreRead) {
  const test::TempFolder cache;
  const std::string blobs = cache / "blobs", snapshot = cache / "snapshots/abc";
  std::filesystem::create_directories(blobs);
  std::filesystem::create_directories(snapshot);
  test::put_folder(blobs, test::small_config());
  int blob = 0;
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
    const std::string hash = "hash" + std::to_string(blob++);
    std::filesystem::rename(blobs + "/" + name, blobs + "/" + hash);
    std::filesystem::create_symlink("../../blobs/" + hash, snapshot + "/" + name);
  }
  EXPECT_EQ(ModelSource::open(snapshot).config(), test::small_config());
}

TEST_F(Folder, I50_MissingShard) {
  map_to("model-00009-of-00009.safetensors");
  refused("model-00009-of-00009.safetensors: no such file");
}

TEST_F(Folder, I51_I52_IndexAndShardsMustAgree) {
  std::string first, second;
  edit_index([&](Object& index) {
    first = index["weight_map"]["model.embed_tokens.weight"];
    second = index["weight_map"]["lm_head.weight"];
    ASSERT_NE(first, second);
    index["weight_map"]["nonsense"] = first;
  });
  refused("places tensor 'nonsense' in " + first + ", which does not hold it");
  edit_index([&](Object& index) { index["weight_map"].erase("nonsense"); });
  EXPECT_NO_THROW(ModelSource::open(path()));
  edit_index([&](Object& index) { index["weight_map"]["model.embed_tokens.weight"] = second; });
  refused("holds tensor 'model.embed_tokens.weight', which model.safetensors.index.json places in " + second);
  edit_index([&](Object& index) { index["weight_map"].erase("model.embed_tokens.weight"); });
  refused("which model.safetensors.index.json does not list");
}

TEST_F(Folder, I53_OneTensorInTwoShards) {
  std::string shard;
  edit_index([&](Object& index) { shard = index["weight_map"]["lm_head.weight"]; });
  const ModelConfig config = test::small_config();
  std::vector<OutputTensor> tensors;
  for (const OutputTensor& tensor : test::small_tensors(config))
    if (tensor.name == "lm_head.weight" || tensor.name == "model.norm.weight") tensors.push_back(tensor);
  write_safetensors(file("extra.safetensors"), tensors, {});
  edit_index([&](Object& index) { index["weight_map"]["model.norm.weight"] = "extra.safetensors"; });
  refused("holds tensor 'lm_head.weight', which model.safetensors.index.json places in " + shard);
}

TEST_F(Folder, I54_I55_IndexOfTheWrongForm) {
  edit_index([](Object& index) { index["metadata"]["total_size"] = 12; });
  refused("total_size is 12, the shards hold");
  edit_index([](Object& index) { index["metadata"].erase("total_size"); });
  EXPECT_NO_THROW(ModelSource::open(path()));
  map_to("x");
  edit_index([](Object& index) { index["weight_map"]["model.norm.weight"] = 3; });
  refused("the shard of 'model.norm.weight' is not a string");
  edit_index([](Object& index) { index["weight_map"] = Object::array(); });
  refused("weight_map is not an object");
  edit_index([](Object& index) { index = Object::array(); });
  refused("weight_map is not an object");
}

TEST_F(Folder, I56_AHundredThousandShards) {
  std::string text = "{\"weight_map\":{";
  for (int i = 0; i < 100'000; ++i)
    text += (i ? ",\"t" : "\"t") + std::to_string(i) + "\":\"s" + std::to_string(i) + ".safetensors\"";
  test::put_file(file("model.safetensors.index.json"), text + "}}");
  refused("names 100000 shards, 1 to 4096 are allowed");
}

TEST_F(Folder, I58_PicklesAndTheirFolders) {
  map_to("pickle.safetensors");
  test::put_file(file("pickle.safetensors"), std::string("PK\x03\x04\0\0\x08\x08\0\0\0\0", 12));
  refused("a PyTorch pickle, which can run code");
  std::filesystem::remove(file("model.safetensors.index.json"));
  refused("neither model.safetensors nor model.safetensors.index.json is there");
  test::put_file(file("pytorch_model.bin"), "x");
  refused("only has pytorch_model.bin, a PyTorch pickle");
  std::filesystem::remove(file("config.json"));
  refused("config.json: no such file");
}

// A folder of one file with the given tensors.
void rewrite(const std::string& folder, const ModelConfig& config, std::vector<OutputTensor> tensors) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("model")) std::filesystem::remove(entry.path());
  test::put_file(folder + "/config.json", write_hf_config(config, DType::F32));
  write_model_shards(folder, tensors);
}

OutputTensor renamed(OutputTensor tensor, const std::string& name) {
  tensor.name = name;
  return tensor;
}

TEST_F(Folder, C70_TiedFlagAgainstTensors) {
  ModelConfig tied = test::small_config();
  tied.tied_embeddings = true;
  std::vector<OutputTensor> tensors = test::small_tensors(tied);  // without a head
  const OutputTensor embedding = tensors[0];
  rewrite(path(), test::small_config(), tensors);
  refused("lm_head.weight is missing although the embeddings are not tied");
  tensors.push_back(renamed(embedding, "lm_head.weight"));
  rewrite(path(), tied, tensors);
  EXPECT_NO_THROW(ModelSource::open(path())) << "two equal copies";
  tensors.back() = test::small_tensors(test::small_config()).back();
  rewrite(path(), tied, tensors);
  refused("the embeddings are tied, but model.embed_tokens.weight and lm_head.weight differ");
  tensors.pop_back();
  tensors[0] = renamed(embedding, "lm_head.weight");
  rewrite(path(), tied, tensors);
  const ModelSource source = ModelSource::open(path());
  EXPECT_EQ(source.tensor("model.embed_tokens.weight").data, source.tensor("lm_head.weight").data);
  tensors.erase(tensors.begin());
  rewrite(path(), tied, tensors);
  refused("tensor 'model.embed_tokens.weight' is missing");
}

TEST_F(Folder, C71_TensorsMustBeThoseOfTheConfiguration) {
  const ModelConfig config = test::small_config();
  const std::vector<OutputTensor> good = test::small_tensors(config);
  ModelConfig wider = config;
  wider.ffn = 11;
  rewrite(path(), wider, good);
  refused("'model.layers.0.mlp.gate_proj.weight' has shape [10, 12], the configuration wants [11, 12]");
  ModelConfig deeper = config;
  deeper.layers = 3;
  rewrite(path(), deeper, good);
  refused("tensor 'model.layers.2.input_layernorm.weight' is missing");
  ModelConfig flatter = config;
  flatter.layers = 1;
  rewrite(path(), flatter, good);
  refused("is no part of a llama of 1 layers");
  std::vector<OutputTensor> tensors = good;
  tensors[3].dtype = DType::I32;
  tensors[3].fill = [bytes = tensors[3].bytes()](void* to) { std::memset(to, 0, bytes); };
  rewrite(path(), config, tensors);
  refused("has dtype I32, wanted F32, BF16, F16 or F64");
  tensors = good;
  tensors.push_back(renamed(good[1], "model.layers.0.self_attn.rotary_emb.inv_freq"));
  rewrite(path(), config, tensors);
  EXPECT_NO_THROW(ModelSource::open(path())) << "a buffer of old folders";
  tensors.back().name = "model.layers.0.self_attn.q_proj.bias";
  rewrite(path(), config, tensors);
  refused("tensor 'model.layers.0.self_attn.q_proj.bias' is no part of a llama");
}

// A valid header of odd length, as other writers may produce, leaves tensors unaligned in the file.
TEST_F(Folder, UnalignedTensorsAreShownAligned) {
  const ModelConfig config = test::small_config();
  rewrite(path(), config, test::small_tensors(config));
  std::string text = read_file(file("model.safetensors"), 1 << 20);
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), 8);
  text = test::u64_bytes(length + 1) + text.substr(8, length) + " " + text.substr(8 + length);
  test::put_file(file("model.safetensors"), text);
  const ModelSource source = ModelSource::open(path());
  for (const auto& [name, view] : source.tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % 4, 0u) << name;
    EXPECT_EQ(static_cast<const float*>(view.data)[5], test::element(name, 5));
  }
}

TEST_F(Folder, TokenizerFilesAreCompanionsByteForByte) {
  const std::string text = std::string("{\"a\": \"\xc3\xa9\"}\n\0x", 14);
  test::put_file(file("tokenizer.json"), text);
  test::put_file(file("merges.txt"), "a b\n");
  test::put_file(file("README.md"), "no companion");
  const ModelSource source = ModelSource::open(path());
  EXPECT_EQ(source.companions(),
            (std::map<std::string, std::string>{{"merges.txt", "a b\n"}, {"tokenizer.json", text}}));
  EXPECT_EQ(source.tokenizer_path(), path());
  const ModelSource other = ModelSource::open(path(), file("merges.txt"));
  EXPECT_EQ(other.companions().size(), 1u);
  EXPECT_EQ(other.tokenizer_path(), file("merges.txt"));
}

}  // namespace
}  // namespace lacuna
