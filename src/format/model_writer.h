// Writes a model folder: config.json, generation_config.json, weights, tokenizer files, and for a model with
// exact zeros or a routed FFN sparsity.json. A silu or relu model is a plain folder of its family that stock
// software loads, a routed one too, as the dense model that it is with all experts on; a dReLU model is a
// "lacuna" folder whose up and down matrices are one bundle a layer.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/arch/model_config.h"
#include "src/base/dtype.h"
#include "src/format/sparsity_json.h"

namespace lacuna {

struct ModelToWrite {
  ModelConfig config;
  std::function<DType(const std::string& parameter)> dtype;  // as it shall be stored
  // Writes parameter `name` as a row-major array of `dtype`.
  std::function<void(const std::string& name, DType dtype, void* dst)> read;
  std::map<std::string, std::string> companions;  // file name -> bytes
  std::uint64_t max_shard_bytes = 5'000'000'000;
};

// True for the models whose up and down are written as bundles.
bool writes_bundles(const ModelConfig& config);

// Fills the existing empty folder.
void write_model_files(const std::string& folder, const ModelToWrite& model);

// SHA256SUMS over every other file of the folder, in the form of sha256sum.
void write_sums(const std::string& folder);
// Compares; Error(BadInput) names a file that differs, is missing, or is a part of the model and not listed.
// Returns how many were compared: 0 when the folder has no SHA256SUMS.
int verify_sums(const std::string& folder);

}  // namespace lacuna
