// config.json and generation_config.json of Hugging Face, in the forms of transformers 4 (rope_theta,
// rope_scaling, torch_dtype) and 5 (rope_parameters, dtype), to and from ModelConfig. Only the architectures
// that the engine computes exactly are accepted; whatever would change the function is refused by name.
#pragma once

#include <string>

#include "src/arch/model_config.h"
#include "src/base/dtype.h"

namespace lacuna {

struct HfConfig {
  ModelConfig model;
  bool bundled = false;              // model_type "lacuna": up and down are stored as bundles
  std::string dtype;                 // "float32", "bfloat16", …; empty when the file does not say
  std::vector<std::string> notices;  // what was read and left unused on purpose (auto_map)
};

// `generation_text` may be empty; its eos list, when there, wins. Error(BadInput) with file, key, found,
// allowed.
HfConfig read_hf_config(const std::string& config_text, const std::string& generation_text,
                        const std::string& where);

enum class HfForm { Transformers4, Transformers5 };

// The JSON text of config.json. Silu and relu become the plain family ("llama", …). A dReLU model becomes
// model_type "lacuna", hidden_act "drelu", with the family beside it: other software refuses it and does not
// run another function in silence.
std::string write_hf_config(const ModelConfig& config, DType stored, HfForm form = HfForm::Transformers4);
std::string write_generation_config(const ModelConfig& config);

}  // namespace lacuna
