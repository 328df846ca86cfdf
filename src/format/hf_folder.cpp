#include "src/format/hf_folder.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/format/folder_file.h"
#include "src/format/sparsity_json.h"

namespace lacuna {

namespace {

constexpr std::size_t kMaxShards = 4096, kMaxTensors = 1'000'000;
constexpr std::size_t kMaxConfigBytes = 4 << 20, kMaxCompanionBytes = 64 << 20;
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kSingle = "model.safetensors";

using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

WeightMap read_weight_map(const Json& index, const std::string& where) {
  LACUNA_CHECK(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
               ErrorKind::BadInput, "{}: weight_map is not an object", where);
  const Json& object = index["weight_map"];
  LACUNA_CHECK(object.size() <= kMaxTensors, ErrorKind::BadInput, "{}: {} tensors, at most {} are allowed",
               where, object.size(), kMaxTensors);
  WeightMap map;
  for (const auto& [tensor, shard] : object.items()) {
    LACUNA_CHECK(shard.is_string(), ErrorKind::BadInput, "{}: the shard of '{}' is not a string", where,
                 printable(tensor));
    check_plain_name(shard.get_ref<const std::string&>(), where);
    map.emplace(tensor, shard.get<std::string>());
  }
  return map;
}

// Every tensor is where the index says, and nowhere else.
void check_shard(const SafetensorsFile& shard, const std::string& name, const WeightMap& map) {
  for (const SafetensorsEntry& entry : shard.entries()) {
    const auto mapped = map.find(entry.name);
    LACUNA_CHECK(mapped != map.end(), ErrorKind::BadInput, "{}: holds tensor '{}', which {} does not list",
                 shard.path(), printable(entry.name), kIndex);
    LACUNA_CHECK(mapped->second == name, ErrorKind::BadInput, "{}: holds tensor '{}', which {} places in {}",
                 shard.path(), printable(entry.name), kIndex, mapped->second);
  }
}

void check_total_size(const Json& index, const std::vector<SafetensorsFile>& shards,
                      const std::string& where) {
  if (!index.contains("metadata") || !index["metadata"].is_object()) return;
  const Json& metadata = index["metadata"];
  if (!metadata.contains("total_size")) return;
  const std::int64_t stated = json_int(metadata, "total_size", where);
  std::uint64_t bytes = 0;
  for (const SafetensorsFile& shard : shards)
    for (const SafetensorsEntry& entry : shard.entries()) bytes += entry.end - entry.begin;
  LACUNA_CHECK(stated >= 0 && static_cast<std::uint64_t>(stated) == bytes, ErrorKind::BadInput,
               "{}: total_size is {}, the shards hold {} bytes of tensors", where, stated, bytes);
}

std::vector<SafetensorsFile> open_indexed(const std::string& folder) {
  const std::string where = folder + "/" + kIndex;
  const Json index = parse_json(read_in_folder(folder, kIndex, 100'000'000), where);
  const WeightMap map = read_weight_map(index, where);
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map) names.insert(shard);
  LACUNA_CHECK(!names.empty() && names.size() <= kMaxShards, ErrorKind::BadInput,
               "{}: names {} shards, 1 to {} are allowed", where, names.size(), kMaxShards);
  std::vector<SafetensorsFile> shards;
  std::map<std::string, std::size_t> place;
  for (const std::string& name : names) {
    place.emplace(name, shards.size());
    shards.emplace_back(file_in_folder(folder, name), false);
  }
  for (const auto& [name, at] : place) check_shard(shards[at], name, map);
  for (const auto& [tensor, shard] : map)
    LACUNA_CHECK(shards[place.at(shard)].find(tensor), ErrorKind::BadInput,
                 "{}: places tensor '{}' in {}, which does not hold it", where, printable(tensor), shard);
  check_total_size(index, shards, where);
  return shards;
}

// A view of a tensor in a mapping; what is not aligned to its element size becomes an owned copy.
TensorView view_of(const SafetensorsFile& shard, const SafetensorsEntry& entry, ModelContents& contents) {
  LACUNA_CHECK(entry.dtype, ErrorKind::BadInput, "{}: tensor '{}' has dtype {}, wanted F32, BF16, F16 or F64",
               shard.path(), printable(entry.name), entry.dtype_name);
  const std::span<const std::byte> bytes = shard.data(entry);
  const void* data = bytes.data();
  if (reinterpret_cast<std::uintptr_t>(data) % size_of(*entry.dtype) != 0) {
    contents.copies.push_back(std::make_unique<std::byte[]>(bytes.size()));
    std::memcpy(contents.copies.back().get(), data, bytes.size());
    data = contents.copies.back().get();
  }
  return {*entry.dtype, entry.shape, data};
}

void read_companions(const std::string& folder, ModelContents& contents) {
  for (const std::string& name : companion_names())
    if (in_folder(folder, name))
      contents.companions.emplace(name, read_in_folder(folder, name, kMaxCompanionBytes));
  for (const char* tokenizer : {"tokenizer.json", "tokenizer.model"})
    if (contents.companions.count(tokenizer)) contents.tokenizer_path = folder;
}

void add_tensors(SafetensorsFile& file, ModelContents& contents) {
  for (const SafetensorsEntry& entry : file.entries()) {
    // Buffers that old LLaMA folders carry; they follow from rope_theta.
    if (entry.name.ends_with(".rotary_emb.inv_freq")) continue;
    LACUNA_CHECK(contents.tensors.emplace(entry.name, view_of(file, entry, contents)).second,
                 ErrorKind::BadInput, "{}: tensor '{}' is in another file too", file.path(),
                 printable(entry.name));
  }
  contents.mappings.push_back(file.take_mapping());
}

// What sparsity.json says about experts, and the tensors of their routers.
void add_routed(const std::string& folder, ModelContents& contents) {
  if (!in_folder(folder, "sparsity.json")) return;
  const auto routed = read_routed(read_in_folder(folder, "sparsity.json", kMaxConfigBytes), contents.config,
                                  folder + "/sparsity.json");
  if (!routed) return;
  contents.config.routed = *routed;
  SafetensorsFile file(file_in_folder(folder, kRoutedTensors), false);
  add_tensors(file, contents);
}

}  // namespace

const std::vector<std::string>& companion_names() {
  static const std::vector<std::string> names = {"tokenizer.json",
                                                 "tokenizer.model",
                                                 "tokenizer_config.json",
                                                 "special_tokens_map.json",
                                                 "added_tokens.json",
                                                 "vocab.json",
                                                 "merges.txt",
                                                 "tokenizer.bin",
                                                 "chat_template.jinja"};
  return names;
}

std::vector<SafetensorsFile> open_shards(const std::string& folder) {
  if (in_folder(folder, kSingle)) {
    std::vector<SafetensorsFile> shards;
    shards.emplace_back(file_in_folder(folder, kSingle), false);
    return shards;
  }
  if (in_folder(folder, kIndex)) return open_indexed(folder);
  for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"})
    LACUNA_CHECK(
        !in_folder(folder, pickle), ErrorKind::BadInput,
        "{}: only has {}, a PyTorch pickle, which can run code and is never read; convert it to safetensors",
        folder, pickle);
  fail(ErrorKind::BadInput, "{}: neither {} nor {} is there", folder, kSingle, kIndex);
}

HfConfig read_folder_config(const std::string& folder) {
  const std::string generation = in_folder(folder, "generation_config.json")
                                     ? read_in_folder(folder, "generation_config.json", kMaxConfigBytes)
                                     : "";
  return read_hf_config(read_in_folder(folder, "config.json", kMaxConfigBytes), generation,
                        folder + "/config.json");
}

ModelContents open_hf_folder(const std::string& folder) {
  const HfConfig config = read_folder_config(folder);
  for (const std::string& notice : config.notices) log_info("{}", notice);
  ModelContents contents;
  contents.path = folder;
  contents.kind = config.bundled ? "lacuna folder" : "hf folder";
  contents.config = config.model;
  for (SafetensorsFile& shard : open_shards(folder)) add_tensors(shard, contents);
  add_routed(folder, contents);
  read_companions(folder, contents);
  return contents;
}

}  // namespace lacuna
