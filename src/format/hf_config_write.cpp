// The writing half of hf_config.h.
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/format/hf_config.h"

namespace lacuna {

namespace {

const char* architecture(const ModelConfig& config) {
  if (config.activation == Activation::Drelu) return "LacunaForCausalLM";
  if (config.family == "mistral") return "MistralForCausalLM";
  if (config.family == "qwen2") return "Qwen2ForCausalLM";
  if (config.family == "qwen3") return "Qwen3ForCausalLM";
  return "LlamaForCausalLM";
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return "float64";
    case DType::BF16:
      return "bfloat16";
    case DType::F16:
      return "float16";
    default:
      return "float32";
  }
}

Json rope_object(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  Json rope;
  rope["rope_type"] = scaling.kind == "none" ? "default" : scaling.kind;
  if (scaling.kind != "none") rope["factor"] = scaling.factor;
  if (scaling.kind == "llama3") {
    rope["low_freq_factor"] = scaling.low_freq_factor;
    rope["high_freq_factor"] = scaling.high_freq_factor;
    rope["original_max_position_embeddings"] = scaling.original_positions;
  }
  return rope;
}

void put_ids(Json& json, const ModelConfig& config) {
  json["bos_token_id"] = config.bos_id >= 0 ? Json(config.bos_id) : Json(nullptr);
  json["eos_token_id"] = config.eos_ids.empty()       ? Json(nullptr)
                         : config.eos_ids.size() == 1 ? Json(config.eos_ids[0])
                                                      : Json(config.eos_ids);
}

void put_window(Json& json, const ModelConfig& config) {
  const bool used = config.sliding_window > 0;
  if (config.family == "llama") return;
  json["sliding_window"] = used ? Json(config.sliding_window) : Json(nullptr);
  if (config.family == "mistral") return;
  json["use_sliding_window"] = used;
  json["max_window_layers"] = used ? 0 : config.layers;
}

}  // namespace

std::string write_hf_config(const ModelConfig& config, DType stored, HfForm form) {
  const bool own = config.activation == Activation::Drelu;
  Json json;
  json["architectures"] = Json::array({architecture(config)});
  json["model_type"] = own ? "lacuna" : config.family;
  if (own) json["lacuna_family"] = config.family;
  json["hidden_act"] = name_of(config.activation);
  json["hidden_size"] = config.hidden;
  json["intermediate_size"] = config.ffn;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["vocab_size"] = config.vocab;
  json["max_position_embeddings"] = config.max_positions;
  json["rms_norm_eps"] = config.norm_eps;
  json["tie_word_embeddings"] = config.tied_embeddings;
  json["attention_dropout"] = 0.0;
  if (config.family == "llama" || config.family == "qwen3") json["attention_bias"] = false;
  if (config.family == "llama") json["mlp_bias"] = false;
  put_window(json, config);
  if (form == HfForm::Transformers5) {
    Json rope = rope_object(config);
    rope["rope_theta"] = config.rope_theta;
    json["rope_parameters"] = rope;
    json["dtype"] = dtype_name(stored);
  } else {
    json["rope_theta"] = config.rope_theta;
    json["rope_scaling"] = config.rope_scaling.kind == "none" ? Json(nullptr) : rope_object(config);
    json["torch_dtype"] = dtype_name(stored);
  }
  json["use_cache"] = true;
  put_ids(json, config);
  return json.dump(2) + "\n";
}

std::string write_generation_config(const ModelConfig& config) {
  Json json;
  put_ids(json, config);
  return json.dump(2) + "\n";
}

}  // namespace lacuna
