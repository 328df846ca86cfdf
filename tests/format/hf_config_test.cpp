#include "src/format/hf_config.h"

#include <nlohmann/json.hpp>

#include "tests/format/fixtures.h"

namespace lacuna {
namespace {

using Object = nlohmann::ordered_json;

Object base() {
  return Object::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,
    "intermediate_size":128,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "vocab_size":100,"max_position_embeddings":256,"rms_norm_eps":1e-5,"hidden_act":"silu",
    "rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"float32","bos_token_id":1,"eos_token_id":2})");
}

HfConfig read(const Object& json, const std::string& generation = "") {
  return read_hf_config(json.dump(), generation, "config.json");
}

void refused(const Object& json, const std::string& part) {
  SCOPED_TRACE(json.dump());
  test::expect_refused([&] { read(json); }, part);
}

Object with(const char* key, const Object& value) {
  Object json = base();
  json[key] = value;
  return json;
}
Object without(const char* key) {
  Object json = base();
  json.erase(key);
  return json;
}

TEST(HfConfig, FormsOfTransformers4And5RoundTrip) {
  ModelConfig llama = test::small_config();
  ModelConfig long_rope = llama, linear = llama, mistral = llama, qwen2 = llama, qwen3 = llama,
              qwen_window = llama;
  long_rope.rope_theta = 500000;
  long_rope.rope_scaling = {"llama3", 8, 1, 4, 8192};
  linear.rope_scaling.kind = "linear";
  linear.rope_scaling.factor = 2.5;
  mistral.family = "mistral";
  mistral.sliding_window = 40;
  mistral.eos_ids = {};
  mistral.bos_id = -1;
  qwen2.family = "qwen2";
  qwen2.qkv_bias = true;
  qwen2.tied_embeddings = true;
  qwen3.family = "qwen3";
  qwen3.qk_norm = true;
  qwen3.head_dim = 8;  // heads * head_dim is not hidden
  qwen_window = qwen2;
  qwen_window.sliding_window = 16;
  ModelConfig relu = llama, drelu = qwen3;
  relu.activation = Activation::Relu;
  drelu.activation = Activation::Drelu;
  for (const ModelConfig& config :
       {llama, long_rope, linear, mistral, qwen2, qwen3, qwen_window, relu, drelu})
    for (const HfForm form : {HfForm::Transformers4, HfForm::Transformers5}) {
      const std::string text = write_hf_config(config, DType::BF16, form);
      SCOPED_TRACE(text);
      const HfConfig back = read_hf_config(text, write_generation_config(config), "config.json");
      EXPECT_EQ(back.model, config);
      EXPECT_EQ(back.dtype, "bfloat16");
      EXPECT_EQ(back.bundled, config.activation == Activation::Drelu);
    }
}

TEST(HfConfig, DreluSaysSoInEveryKeyThatOtherSoftwareReads) {
  ModelConfig config = test::small_config();
  config.activation = Activation::Drelu;
  const Object json = Object::parse(write_hf_config(config, DType::F32));
  EXPECT_EQ(json["model_type"], "lacuna");
  EXPECT_EQ(json["architectures"][0], "LacunaForCausalLM");
  EXPECT_EQ(json["hidden_act"], "drelu");
}

TEST(HfConfig, C59_MissingKeys) {
  for (const char* key : {"model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size"}) {
    refused(without(key), std::string("required key '") + key + "' is missing");
    refused(with(key, nullptr), std::string("required key '") + key + "' is missing");
  }
  Object qwen = with("model_type", "qwen2");
  qwen.erase("num_key_value_heads");
  refused(qwen, "required key 'num_key_value_heads' is missing");
  EXPECT_EQ(read(without("num_key_value_heads")).model.kv_heads, 4);
  EXPECT_EQ(read(without("rms_norm_eps")).model.norm_eps, 1e-6);
}

TEST(HfConfig, C60_SizesMustBePositive) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "vocab_size", "head_dim", "max_position_embeddings"})
    for (const int value : {0, -1})
      refused(with(key, value), std::string(key) + " is " + std::to_string(value));
}

TEST(HfConfig, C61_C62_C63_C64_SizesMustFit) {
  refused(with("num_attention_heads", 5), "5 heads do not divide hidden 64");
  refused(with("num_key_value_heads", 3), "3 kv-heads do not divide 4 heads");
  Object huge = with("hidden_size", 1 << 24);
  huge["vocab_size"] = 1 << 24;
  huge["head_dim"] = 16;
  refused(huge, "beyond 2^48");
  refused(with("num_hidden_layers", 1'000'000'000), "layers is 1000000000, wanted 1 to 4096");
  refused(with("head_dim", 15), "head-dim 15 is odd");
}

TEST(HfConfig, C65_C66_Numbers) {
  refused(with("rope_theta", 0), "rope-theta is 0");
  refused(with("rope_theta", -1.5), "rope-theta is -1.5");
  for (const char* token : {"NaN", "Infinity", "-Infinity", "1e999"}) {
    std::string text = base().dump();
    const std::string old = "\"rope_theta\":10000.0";
    text.replace(text.find(old), old.size(), std::string("\"rope_theta\":") + token);
    test::expect_refused([&] { read_hf_config(text, "", "config.json"); }, "config.json");
  }
  refused(with("rms_norm_eps", 0), "norm-eps is 0");
  refused(with("rms_norm_eps", "1e-5"), "'rms_norm_eps' must be a number");
  refused(with("hidden_size", "64"), "'hidden_size' must be a whole number");
  refused(with("hidden_size", 64.5), "'hidden_size' must be a whole number");
  refused(with("tie_word_embeddings", 1), "'tie_word_embeddings' must be true or false");
}

TEST(HfConfig, C67_UnknownFunctions) {
  for (const char* type : {"gemma2", "phi3", "mixtral", "LLAMA", ""})
    refused(with("model_type", type), std::string("model_type '") + type + "' is not supported");
  refused(with("hidden_act", "gelu"), "hidden_act 'gelu' is not supported");
  refused(with("hidden_act", "drelu"), "hidden_act 'drelu' is not supported");
  Object own = with("model_type", "lacuna");
  own["lacuna_family"] = "llama";
  refused(own, "hidden_act of model_type lacuna is 'silu'");
  refused(with("architectures", {"LlamaForSequenceClassification"}), "is not a causal language model");
  refused(with("architectures", Object::array()), "architectures must be a list");
  refused(with("attention_bias", true), "attention_bias = true is not supported");
  refused(with("mlp_bias", true), "mlp_bias = true is not supported");
  refused(with("quantization_config", {{"bits", 4}}), "quantised weights");
  refused(with("partial_rotary_factor", 0.5), "partial_rotary_factor 0.5");
}

TEST(HfConfig, C72_DtypeNames) {
  refused(with("torch_dtype", "float8_e4m3fn"), "dtype 'float8_e4m3fn' is not supported");
  refused(with("dtype", "bfloat16"), "torch_dtype 'float32' and dtype 'bfloat16' disagree");
  EXPECT_EQ(read(with("dtype", "float32")).dtype, "float32");
  EXPECT_EQ(read(without("torch_dtype")).dtype, "");
}

TEST(HfConfig, C74_C75_IntegersAndRepeatedKeys) {
  refused(with("hidden_size", 9007199254740994.0), "'hidden_size' must be a whole number");
  std::string text = base().dump();
  text.insert(1, R"("hidden_size":32,)");
  test::expect_refused([&] { read_hf_config(text, "", "config.json"); },
                       "the key 'hidden_size' stands twice");
  text = base().dump();
  text.insert(1, R"("hidden_siz\u0065":64,)");
  test::expect_refused([&] { read_hf_config(text, "", "config.json"); },
                       "the key 'hidden_size' stands twice");
}

TEST(HfConfig, C76_RemoteCodeIsNamedAndLeftAlone) {
  const HfConfig config = read(with("auto_map", {{"AutoModel", "modeling_evil.Evil"}}));
  ASSERT_EQ(config.notices.size(), 1u);
  EXPECT_NE(config.notices[0].find("never run"), std::string::npos);
}

TEST(HfConfig, RopeInBothSpellings) {
  Object both = with("rope_parameters", {{"rope_theta", 10000.0}, {"rope_type", "default"}});
  EXPECT_EQ(read(both).model.rope_theta, 10000);
  both["rope_parameters"]["rope_theta"] = 500000.0;
  refused(both, "rope_theta is 10000 and in rope_parameters 500000");
  both = with("rope_parameters", {{"rope_theta", 10000.0}, {"rope_type", "linear"}, {"factor", 2.0}});
  both["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  refused(both, "rope_scaling and rope_parameters disagree");
  for (const char* kind : {"dynamic", "yarn", "longrope"})
    refused(with("rope_scaling", {{"rope_type", kind}, {"factor", 2}}), std::string("rope scaling '") + kind);
  refused(with("rope_scaling", {{"type", "linear"}}), "has no factor");
  refused(with("rope_scaling", {{"type", "linear"}, {"factor", 0}}), "rope factor is 0");
  refused(with("rope_scaling",
               {{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}}),
          "has no original_max_position_embeddings");
  refused(with("rope_scaling", {{"type", "llama3"},
                                {"factor", 8},
                                {"low_freq_factor", 4},
                                {"high_freq_factor", 4},
                                {"original_max_position_embeddings", 8192}}),
          "0 < low 4 < high 4");
  refused(with("rope_scaling", 3), "rope_scaling must be an object");
  refused(with("rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}), "per kind of layer");
}

TEST(HfConfig, EndOfTextListsAndTheGenerationConfigWins) {
  EXPECT_EQ(read(with("eos_token_id", {7, 9})).model.eos_ids, (std::vector<std::int64_t>{7, 9}));
  EXPECT_TRUE(read(with("eos_token_id", nullptr)).model.eos_ids.empty());
  EXPECT_EQ(read(base(), R"({"eos_token_id":[3,4]})").model.eos_ids, (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(read(base(), R"({"temperature":0.7})").model.eos_ids, std::vector<std::int64_t>{2});
  refused(with("eos_token_id", 100), "eos id 100 is outside the vocabulary of 100");
  refused(with("eos_token_id", {1, -1}), "eos id -1 is outside");
  refused(with("eos_token_id", "2"), "'eos_token_id' must be a whole number");
  refused(with("eos_token_id", {1, {2}}), "'eos_token_id' must be a whole number");
  refused(with("bos_token_id", 100), "bos id 100 is outside");
  test::expect_refused([] { read(base(), R"({"eos_token_id":100})"); }, "eos id 100");
  test::expect_refused([] { read(base(), "[]"); },
                       "generation_config.json beside config.json: not a JSON object");
}

TEST(HfConfig, WindowsOnAllLayersOrNone) {
  Object mistral = with("model_type", "mistral");
  mistral["sliding_window"] = 32;
  EXPECT_EQ(read(mistral).model.sliding_window, 32);
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(read(mistral).model.sliding_window, 0);
  mistral.erase("sliding_window");
  EXPECT_EQ(read(mistral).model.sliding_window, 4096) << "the default of that family";
  Object qwen = with("model_type", "qwen2");
  qwen["sliding_window"] = 32;
  EXPECT_EQ(read(qwen).model.sliding_window, 0) << "only with use_sliding_window";
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 1;
  refused(qwen, "a sliding window on layers 1 to 1 only");
  qwen["max_window_layers"] = 0;
  EXPECT_EQ(read(qwen).model.sliding_window, 32);
  qwen["layer_types"] = {"sliding_attention", "full_attention"};
  refused(qwen, "does not fit sliding_window");
  refused(with("layer_types", {"full_attention"}), "must list 2 layers");
  EXPECT_EQ(read(with("sliding_window", 32)).model.sliding_window, 0) << "LLaMA has none";
}

TEST(HfConfig, NotAnObject) {
  for (const char* text : {"", "[]", "3", "{", "{\"a\":1}x", "\xff"})
    test::expect_refused([&] { read_hf_config(text, "", "config.json"); }, "config.json");
}

}  // namespace
}  // namespace lacuna
