// What a path is, by cheap signs alone (names, first bytes); the reader of that kind checks the rest.
#pragma once

#include <string>

namespace lacuna {

enum class PathKind {
  HfFolder,      // config.json of a family that other software knows
  LacunaFolder,  // config.json with model_type "lacuna"
  Llama2cFile,
  Checkpoint,  // a step folder
  Run,         // a folder with step folders in it
  TokenFile,   // HDF5, as `tokenize` writes it
  Tokenizer,   // a tokenizer file, or a folder that has one and no model
  Safetensors,
  Unknown,
};

// "hf folder", "lacuna folder", "llama2.c file", "checkpoint", "run", "token file", "tokenizer",
// "safetensors file", "unknown"
const char* name_of(PathKind kind);

// Error(BadInput) when nothing is there.
PathKind detect(const std::string& path);

// The folder or file is one that ModelSource::open takes.
bool is_model(PathKind kind);

}  // namespace lacuna
