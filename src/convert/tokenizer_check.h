// A tokenizer on its way into a checkpoint: read, parsed once, compared with the model.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <string>

#include "src/arch/model_config.h"

namespace lacuna {

// The files of a tokenizer folder or file, bytes as they are.
std::map<std::string, std::string> tokenizer_bytes(const std::string& path);

// "byte-level BPE, 8192 tokens" of a tokenizer folder or file.
std::string describe_tokenizer_line(const std::string& path);

// What kind of tokenizer the files are; "" when there are none. Error(BadInput) when they do
// not parse, or have more tokens than the embedding has rows.
std::string check_tokenizer(const std::map<std::string, std::string>& files, const ModelConfig& config,
                            const std::string& where);

// {"kind", "vocab", "sha256", "files": [names]}; null when there are no files. Error(BadInput) when they do
// not parse.
nlohmann::ordered_json describe_tokenizer(const std::map<std::string, std::string>& files,
                                          const std::string& where);

}  // namespace lacuna
