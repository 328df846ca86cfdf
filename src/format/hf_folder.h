// A Hugging Face model folder: config.json, model.safetensors or shards with model.safetensors.index.json,
// and tokenizer files. Also a folder that `export` wrote for a dReLU model (model_type "lacuna"), and one
// whose sparsity.json tells of a routed FFN.
#pragma once

#include <string>
#include <vector>

#include "src/format/hf_config.h"
#include "src/format/model_source.h"
#include "src/format/safetensors.h"

namespace lacuna {

// Maps all shards and lists their tensors. Error(BadInput) on any broken rule of shard names, of the index
// against the shards, or of a shard itself.
std::vector<SafetensorsFile> open_shards(const std::string& folder);

HfConfig read_folder_config(const std::string& folder);

// The names of tokenizer files that a model folder may hold; those that exist are companions.
const std::vector<std::string>& companion_names();

ModelContents open_hf_folder(const std::string& folder);

}  // namespace lacuna
