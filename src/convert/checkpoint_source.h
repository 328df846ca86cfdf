// A checkpoint as a source of weights, so that whatever runs a model folder runs a checkpoint or a run too.
#pragma once

#include <string>

#include "src/format/model_source.h"

namespace lacuna {

// Reads all parameters of a step folder or of a run's newest step that verifies into memory, in the types
// that they are stored in. The tokenizer is in companions(); tokenizer_path() is empty.
ModelSource open_checkpoint(const std::string& path);

// Model folder, llama2.c file, checkpoint or run: whatever -m may name.
ModelSource open_any_model(const std::string& path, const std::string& tokenizer = "");

}  // namespace lacuna
