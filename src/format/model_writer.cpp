#include "src/format/model_writer.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/format/folder_file.h"
#include "src/format/hf_config.h"
#include "src/format/model_source.h"
#include "src/format/safetensors_writer.h"

namespace lacuna {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSums = "SHA256SUMS";

using Buffer = std::unique_ptr<std::byte[]>;

Buffer read_parameter(const ModelToWrite& model, const Parameter& parameter, DType dtype) {
  Buffer out = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(parameter.elements()) *
                                                           size_of(dtype));
  model.read(parameter.name, dtype, out.get());
  return out;
}

// Row i of up, then column i of down.
void fill_bundle(const ModelToWrite& model, const Parameter& up, const Parameter& down, DType dtype,
                 void* dst) {
  const std::int64_t ffn = model.config.ffn, hidden = model.config.hidden;
  const std::size_t element = size_of(dtype), row = static_cast<std::size_t>(hidden) * element;
  const Buffer up_values = read_parameter(model, up, dtype), down_values = read_parameter(model, down, dtype);
  auto* out = static_cast<std::byte*>(dst);
  for (std::int64_t neuron = 0; neuron < ffn; ++neuron) {
    std::memcpy(out, up_values.get() + static_cast<std::size_t>(neuron) * row, row);
    out += row;
    for (std::int64_t i = 0; i < hidden; ++i, out += element)
      std::memcpy(out, down_values.get() + static_cast<std::size_t>(i * ffn + neuron) * element, element);
  }
}

bool of_router(const Parameter& parameter) {
  return parameter.role >= Role::RouterWeight;
}

OutputTensor plain_tensor(const ModelToWrite& model, const Parameter& parameter) {
  const DType dtype = model.dtype(parameter.name);
  return {parameter.name, dtype, parameter.shape,
          [&model, parameter, dtype](void* to) { model.read(parameter.name, dtype, to); }};
}

// sparsity.json without measurements, and the routers' tensors.
void write_routed(const std::string& folder, const ModelToWrite& model) {
  SparsityInfo info;
  info.activation = model.config.activation;
  write_file_atomic(folder + "/sparsity.json",
                    write_sparsity(info, model.config, writes_bundles(model.config)));
  std::vector<OutputTensor> tensors;
  for (const Parameter& parameter : parameters(model.config))
    if (of_router(parameter)) tensors.push_back(plain_tensor(model, parameter));
  write_safetensors(folder + "/" + kRoutedTensors, tensors, {{"format", "pt"}});
}

std::vector<OutputTensor> output_tensors(const ModelToWrite& model) {
  const std::vector<Parameter> all = parameters(model.config);
  const bool bundles = writes_bundles(model.config);
  std::vector<OutputTensor> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Parameter parameter = all[i];
    const DType dtype = model.dtype(parameter.name);
    if (of_router(parameter) || (bundles && parameter.role == Role::Down)) continue;
    if (!bundles || parameter.role != Role::Up) {
      out.push_back(plain_tensor(model, parameter));
      continue;
    }
    const Parameter down = all[i + 1];
    LACUNA_ASSERT(down.role == Role::Down && down.layer == parameter.layer);
    out.push_back(
        {bundle_name(parameter.layer),
         dtype,
         {model.config.ffn, 2, model.config.hidden},
         [&model, parameter, down, dtype](void* to) { fill_bundle(model, parameter, down, dtype, to); }});
  }
  return out;
}

std::vector<std::string> file_names(const std::string& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != kSums) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string sum_of(const std::string& folder, const std::string& name) {
  const MappedFile file(file_in_folder(folder, name), false);
  return sha256_hex(file.bytes().data(), file.bytes().size());
}

}  // namespace

bool writes_bundles(const ModelConfig& config) {
  return config.activation == Activation::Drelu;
}

void write_model_files(const std::string& folder, const ModelToWrite& model) {
  const DType widest = model.dtype("model.embed_tokens.weight");
  write_file_atomic(folder + "/config.json", write_hf_config(model.config, widest));
  write_file_atomic(folder + "/generation_config.json", write_generation_config(model.config));
  write_model_shards(folder, output_tensors(model), model.max_shard_bytes);
  if (model.config.is_routed()) write_routed(folder, model);
  for (const auto& [name, bytes] : model.companions) {
    check_plain_name(name, "tokenizer files");
    LACUNA_CHECK(!in_folder(folder, name), ErrorKind::BadInput,
                 "a tokenizer file is named {} like a part of the model", name);
    write_file_atomic(folder + "/" + name, bytes);
  }
}

void write_sums(const std::string& folder) {
  std::string text;
  for (const std::string& name : file_names(folder)) text += sum_of(folder, name) + "  " + name + "\n";
  write_file_atomic(folder + "/" + kSums, text);
}

int verify_sums(const std::string& folder) {
  if (!in_folder(folder, kSums)) return 0;
  const std::string where = folder + "/" + kSums;
  std::istringstream lines(read_in_folder(folder, kSums, 1 << 20));
  std::set<std::string> listed;
  for (std::string line; std::getline(lines, line);) {
    const bool formed =
        line.size() > 66 && line.substr(64, 2) == "  " && line.find_first_not_of("0123456789abcdef") == 64;
    LACUNA_CHECK(formed, ErrorKind::BadInput, "{}: line {} is no 'SHA256  name'", where, listed.size() + 1);
    const std::string name = line.substr(66);
    check_plain_name(name, where);
    LACUNA_CHECK(listed.insert(name).second, ErrorKind::BadInput, "{}: {} is listed twice", where, name);
    LACUNA_CHECK(sum_of(folder, name) == line.substr(0, 64), ErrorKind::BadInput,
                 "{}/{}: its bytes are not those that {} lists", folder, name, kSums);
  }
  for (const std::string& name : file_names(folder)) {
    const bool read = name.ends_with(".json") || name.ends_with(".safetensors") || name.ends_with(".model") ||
                      name == kRoutedTensors;
    LACUNA_CHECK(!read || listed.count(name), ErrorKind::BadInput, "{}/{}: {} does not list it", folder,
                 printable(name), kSums);
  }
  return static_cast<int>(listed.size());
}

}  // namespace lacuna
