// What -m or --arch names, as training needs it: a configuration, a source of slabs, the tokenizer's files.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "src/arch/model_config.h"
#include "src/train/snapshot.h"

namespace lacuna {

struct ParentModel {
  ModelConfig config;
  SlabSource weights;  // empty for --arch: new weights
  TensorSource ready;  // tensors of mapped files, in the type they are stored in; may be empty
  std::map<std::string, std::string> files;
  std::string description;            // "checkpoint runs/parent/step-000000300"
  std::shared_ptr<const void> owner;  // keeps what `weights` reads from
};

// model: HF folder, llama2.c file, exported folder, checkpoint or run; checked to hold every tensor.
ParentModel open_parent(const std::string& model);

// A preset or an INI file; the vocabulary and the special tokens come from the token file where it leaves
// them open.
ParentModel new_model(const std::string& arch, std::int64_t vocab, std::int64_t eos_id);

}  // namespace lacuna
