#include "src/format/hf_config.h"

#include <cmath>
#include <optional>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

// A JSON object with its place; null counts as absent, as transformers writes unset values that way.
struct Keys {
  const Json& object;
  const std::string& where;

  bool has(const char* key) const { return object.contains(key) && !object.at(key).is_null(); }
  std::int64_t integer(const char* key) const {
    LACUNA_CHECK(has(key), ErrorKind::BadInput, "{}: required key '{}' is missing", where, key);
    return json_int(object, key, where);
  }
  std::int64_t integer(const char* key, std::int64_t otherwise) const {
    return has(key) ? json_int(object, key, where) : otherwise;
  }
  std::int64_t positive(const char* key, std::optional<std::int64_t> otherwise = std::nullopt) const {
    const std::int64_t value = otherwise ? integer(key, *otherwise) : integer(key);
    LACUNA_CHECK(!has(key) || value > 0, ErrorKind::BadInput, "{}: {} is {}, wanted at least 1", where, key,
                 value);
    return value;
  }
  double number(const char* key, double otherwise) const {
    return has(key) ? json_double(object, key, where, otherwise) : otherwise;
  }
  bool flag(const char* key, bool otherwise) const {
    return has(key) ? json_bool(object, key, where, otherwise) : otherwise;
  }
  std::string text(const char* key, const std::string& otherwise) const {
    return has(key) ? json_string(object, key, where) : otherwise;
  }
  // A value that only one setting of is computed here.
  void only(const char* key, bool supported) const {
    LACUNA_CHECK(flag(key, supported) == supported, ErrorKind::BadInput, "{}: {} = {} is not supported",
                 where, key, !supported);
  }
};

// Ids as a number, a list of numbers, or null.
std::vector<std::int64_t> read_ids(const Keys& keys, const char* key) {
  std::vector<std::int64_t> ids;
  if (!keys.has(key)) return ids;
  const Json& value = keys.object.at(key);
  if (!value.is_array()) return {json_int(keys.object, key, keys.where)};
  LACUNA_CHECK(value.size() <= 1024, ErrorKind::BadInput, "{}: {} lists {} tokens, at most 1024 are allowed",
               keys.where, key, value.size());
  for (const Json& element : value) {
    const Json wrapped = {{key, element}};
    ids.push_back(json_int(wrapped, key, keys.where));
  }
  return ids;
}

RopeScaling read_scaling(const Json& object, const std::string& where) {
  const Keys keys{object, where};
  RopeScaling scaling;
  const std::string kind = keys.text("rope_type", keys.text("type", "default"));
  if (kind == "default") return scaling;
  LACUNA_CHECK(kind == "linear" || kind == "llama3", ErrorKind::BadInput,
               "{}: rope scaling '{}' is not supported (default, linear, llama3)", where, printable(kind));
  scaling.kind = kind;
  LACUNA_CHECK(keys.has("factor"), ErrorKind::BadInput, "{}: rope scaling '{}' has no factor", where, kind);
  scaling.factor = keys.number("factor", 1);
  if (kind == "linear") return scaling;
  for (const char* key : {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"})
    LACUNA_CHECK(keys.has(key), ErrorKind::BadInput, "{}: llama3 rope scaling has no {}", where, key);
  scaling.low_freq_factor = keys.number("low_freq_factor", 0);
  scaling.high_freq_factor = keys.number("high_freq_factor", 0);
  scaling.original_positions = keys.positive("original_max_position_embeddings");
  return scaling;
}

// Version 4 says rope_theta and rope_scaling, version 5 rope_parameters; where both stand they must agree.
void read_rope(const Keys& keys, ModelConfig& model) {
  const bool has_new = keys.has("rope_parameters"), has_old = keys.has("rope_scaling");
  const auto object = [&](const char* key) -> const Json& {
    const Json& value = keys.object.at(key);
    LACUNA_CHECK(value.is_object(), ErrorKind::BadInput, "{}: {} must be an object", keys.where, key);
    return value;
  };
  model.rope_theta = keys.number("rope_theta", 10000);
  if (has_old) model.rope_scaling = read_scaling(object("rope_scaling"), keys.where + ": rope_scaling");
  if (has_new) {
    const std::string where = keys.where + ": rope_parameters";
    const Keys inner{object("rope_parameters"), where};
    for (const auto& [key, value] : inner.object.items())
      LACUNA_CHECK(!value.is_object(), ErrorKind::BadInput,
                   "{}: different rotary embeddings per kind of layer "
                   "are not supported ('{}')",
                   where, printable(key));
    const double theta = inner.number("rope_theta", model.rope_theta);
    const RopeScaling scaling = read_scaling(inner.object, where);
    LACUNA_CHECK(!keys.has("rope_theta") || theta == model.rope_theta, ErrorKind::BadInput,
                 "{}: rope_theta is {} and in rope_parameters {}", keys.where, model.rope_theta, theta);
    LACUNA_CHECK(!has_old || scaling == model.rope_scaling, ErrorKind::BadInput,
                 "{}: rope_scaling and rope_parameters disagree", keys.where);
    model.rope_theta = theta;
    model.rope_scaling = scaling;
  }
  const double partial = keys.number("partial_rotary_factor", 1);
  LACUNA_CHECK(partial == 1, ErrorKind::BadInput, "{}: partial_rotary_factor {} is not supported", keys.where,
               partial);
}

// One window for all layers or none; a mix of full and sliding layers is another architecture.
std::int64_t read_window(const Keys& keys, const ModelConfig& model) {
  const bool absent = !keys.object.contains("sliding_window");  // null says: none
  const std::int64_t window = absent                       ? 4096
                              : keys.has("sliding_window") ? keys.positive("sliding_window")
                                                           : 0;
  bool used = model.family == "mistral";
  if (model.family == "qwen2" || model.family == "qwen3") {
    const std::int64_t from = keys.integer("max_window_layers", 28);  // the first layer with a window
    used = keys.flag("use_sliding_window", false) && window > 0 && from < model.layers;
    LACUNA_CHECK(!used || from <= 0, ErrorKind::BadInput,
                 "{}: a sliding window on layers {} to {} only is not supported", keys.where, from,
                 model.layers - 1);
  }
  if (keys.has("layer_types")) {
    const Json& kinds = keys.object.at("layer_types");
    LACUNA_CHECK(kinds.is_array() && static_cast<std::int64_t>(kinds.size()) == model.layers,
                 ErrorKind::BadInput, "{}: layer_types must list {} layers", keys.where, model.layers);
    for (const Json& kind : kinds)
      LACUNA_CHECK(kind == (used && window > 0 ? "sliding_attention" : "full_attention"), ErrorKind::BadInput,
                   "{}: layer_types {} does not fit sliding_window {} on all layers or none", keys.where,
                   printable(kind.dump(-1, ' ', false, Json::error_handler_t::replace)), window);
  }
  return used ? window : 0;
}

std::string read_family(const Keys& keys, HfConfig& out) {
  LACUNA_CHECK(keys.has("model_type"), ErrorKind::BadInput, "{}: required key 'model_type' is missing",
               keys.where);
  std::string family = json_string(keys.object, "model_type", keys.where);
  if (family == "lacuna") {
    out.bundled = true;
    family = json_string(keys.object, "lacuna_family", keys.where);
  }
  LACUNA_CHECK(family == "llama" || family == "mistral" || family == "qwen2" || family == "qwen3",
               ErrorKind::BadInput,
               "{}: model_type '{}' is not supported (llama, mistral, qwen2, qwen3, lacuna)", keys.where,
               printable(family));
  if (keys.has("architectures")) {
    const Json& list = keys.object.at("architectures");
    LACUNA_CHECK(list.is_array() && !list.empty() && list[0].is_string(), ErrorKind::BadInput,
                 "{}: architectures must be a list of names", keys.where);
    const std::string name = list[0].get<std::string>(), tail = "ForCausalLM";
    LACUNA_CHECK(name.size() >= tail.size() && name.substr(name.size() - tail.size()) == tail,
                 ErrorKind::BadInput, "{}: architecture '{}' is not a causal language model", keys.where,
                 printable(name));
  }
  return family;
}

void refuse_other_functions(const Keys& keys, HfConfig& out) {
  keys.only("mlp_bias", false);
  keys.only("attention_bias", false);  // with a bias on o_proj too, unlike Qwen2's
  LACUNA_CHECK(!keys.has("quantization_config"), ErrorKind::BadInput,
               "{}: quantised weights (quantization_config) are not supported; use the unquantised model",
               keys.where);
  if (keys.has("auto_map"))
    out.notices.push_back(keys.where + ": auto_map names code of the model's own, which is never run");
}

// What transformers takes where the file is silent.
std::int64_t default_positions(const std::string& family) {
  return family == "llama" ? 2048 : family == "mistral" ? 4096 * 32 : 32768;
}

// Absent means as many as query heads for LLaMA only; null does everywhere.
std::int64_t read_kv_heads(const Keys& keys, const ModelConfig& model) {
  const bool is_null = keys.object.contains("num_key_value_heads") && !keys.has("num_key_value_heads");
  if (model.family == "llama" || is_null) return keys.positive("num_key_value_heads", model.heads);
  return keys.positive("num_key_value_heads");
}

Activation read_activation(const Keys& keys, bool bundled) {
  const std::string name = keys.text("hidden_act", "silu");
  LACUNA_CHECK(name == "silu" || name == "swish" || name == "relu" || (name == "drelu" && bundled),
               ErrorKind::BadInput,
               "{}: hidden_act '{}' is not supported (silu, relu; drelu in our own folders)", keys.where,
               printable(name));
  LACUNA_CHECK(!bundled || name == "drelu", ErrorKind::BadInput,
               "{}: hidden_act of model_type lacuna is '{}', "
               "wanted drelu",
               keys.where, printable(name));
  return parse_activation(name);
}

std::string read_dtype(const Keys& keys) {
  const std::string old_name = keys.text("torch_dtype", ""), new_name = keys.text("dtype", "");
  for (const std::string& name : {old_name, new_name})
    LACUNA_CHECK(name.empty() || name == "auto" || name == "float32" || name == "bfloat16" ||
                     name == "float16" || name == "float64",
                 ErrorKind::BadInput, "{}: dtype '{}' is not supported (float32, bfloat16, float16, float64)",
                 keys.where, printable(name));
  LACUNA_CHECK(old_name.empty() || new_name.empty() || old_name == new_name, ErrorKind::BadInput,
               "{}: torch_dtype '{}' and dtype '{}' disagree", keys.where, old_name, new_name);
  return new_name.empty() ? old_name : new_name;
}

}  // namespace

HfConfig read_hf_config(const std::string& config_text, const std::string& generation_text,
                        const std::string& where) {
  const Json json = parse_json(config_text, where);
  LACUNA_CHECK(json.is_object(), ErrorKind::BadInput, "{}: not a JSON object", where);
  const Keys keys{json, where};
  HfConfig out;
  ModelConfig& model = out.model;
  model.family = read_family(keys, out);
  refuse_other_functions(keys, out);
  model.hidden = keys.positive("hidden_size");
  model.ffn = keys.positive("intermediate_size");
  model.layers = keys.positive("num_hidden_layers");
  model.heads = keys.positive("num_attention_heads");
  model.vocab = keys.positive("vocab_size");
  model.kv_heads = read_kv_heads(keys, model);
  model.head_dim = keys.positive("head_dim", model.family == "qwen3" ? 128 : 0);
  model.max_positions = keys.positive("max_position_embeddings", default_positions(model.family));
  model.norm_eps = keys.number("rms_norm_eps", 1e-6);
  model.tied_embeddings = keys.flag("tie_word_embeddings", false);
  model.qkv_bias = model.family == "qwen2";
  model.qk_norm = model.family == "qwen3";
  model.activation = read_activation(keys, out.bundled);
  model.sliding_window = read_window(keys, model);
  read_rope(keys, model);
  out.dtype = read_dtype(keys);
  const std::vector<std::int64_t> bos = read_ids(keys, "bos_token_id");
  if (!bos.empty()) model.bos_id = bos.front();
  model.eos_ids = read_ids(keys, "eos_token_id");
  if (!generation_text.empty()) {
    const std::string generation_where = "generation_config.json beside " + where;
    const Json generation = parse_json(generation_text, generation_where);
    LACUNA_CHECK(generation.is_object(), ErrorKind::BadInput, "{}: not a JSON object", generation_where);
    const std::vector<std::int64_t> eos = read_ids({generation, generation_where}, "eos_token_id");
    if (!eos.empty()) model.eos_ids = eos;
  }
  model.complete_and_check(where);
  return out;
}

}  // namespace lacuna
