// Someone else's model -> a checkpoint of step 0 with weights only, bit for bit in their stored types, with
// the tokenizer embedded and a probe made by the inference engine on the source.
#pragma once

#include <string>

#include "src/arch/model_config.h"

namespace lacuna {

struct ImportOptions {
  std::string model;      // HF folder, exported folder or llama2.c file
  std::string tokenizer;  // file or folder; "": what lies with the model
  std::string out;        // run folder to make
  bool force = false;     // replace an earlier import
  int threads = 0;        // 0: as many as this process may run on
};

struct ImportReport {
  std::string checkpoint;  // the step folder
  std::string kind;        // of the source
  ModelConfig config;
  std::string content_hash, tokenizer_kind;  // tokenizer_kind "": none was found
};

// Error(BadInput) for what the readers refuse, and for a tokenizer with more tokens than the embedding has
// rows.
ImportReport import_model(const ImportOptions& options);

}  // namespace lacuna
