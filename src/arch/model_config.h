// What a model is, without a tensor: the sizes and switches of a LLaMA-like transformer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/arch/routed_ffn.h"

namespace lacuna {

// act(gate)·up, or relu(gate)·relu(up) for Drelu (arXiv 2406.05955, eq. 2).
enum class Activation : std::uint8_t { Silu, Relu, Drelu };
std::string name_of(Activation activation);
Activation parse_activation(const std::string& name);  // Error(BadInput) on anything else
inline std::string to_text(Activation activation) {
  return name_of(activation);
}
inline void from_text(const std::string& text, Activation& value) {
  value = parse_activation(text);
}

struct RopeScaling {
  std::string kind = "none";  // none | linear | llama3
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  std::int64_t original_positions = 8192;
  bool operator==(const RopeScaling&) const = default;
};

struct ModelConfig {
  std::string family = "llama";  // llama | mistral | qwen2 | qwen3
  std::int64_t hidden = 0, ffn = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  std::int64_t max_positions = 2048;  // trained context
  std::int64_t sliding_window = 0;    // 0: none
  double norm_eps = 1e-5, rope_theta = 10000;
  RopeScaling rope_scaling;
  Activation activation = Activation::Silu;
  bool tied_embeddings = false, qkv_bias = false, qk_norm = false;
  std::int64_t bos_id = -1;           // -1: none
  std::vector<std::int64_t> eos_ids;  // may be empty
  RoutedFfn routed;                   // dense unless it has experts
  bool operator==(const ModelConfig&) const = default;

  bool is_routed() const { return routed.experts > 0; }
  std::int64_t query_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }

  // The only list of the fields: INI, flags, JSON of checkpoints and the printout are visitors over it.
  template <class Visitor>
  void visit(Visitor&& field) {
    field("model.family", family, "llama | mistral | qwen2 | qwen3");
    field("model.hidden", hidden, "width of the residual stream");
    field("model.ffn", ffn, "neurons of each FFN");
    field("model.layers", layers, "transformer blocks");
    field("model.heads", heads, "query heads");
    field("model.kv-heads", kv_heads, "key/value heads; 0 = as many as query heads");
    field("model.head-dim", head_dim, "size of a head; 0 = hidden / heads");
    field("model.vocab", vocab, "vocabulary; 0 = the tokenizer's");
    field("model.max-positions", max_positions, "trained context in tokens");
    field("model.sliding-window", sliding_window, "attention window in tokens; 0 = none");
    field("model.norm-eps", norm_eps, "epsilon of RMSNorm");
    field("model.rope-theta", rope_theta, "base of the rotary embedding");
    field("model.rope-scaling", rope_scaling.kind, "none | linear | llama3");
    field("model.rope-factor", rope_scaling.factor, "rope scaling factor");
    field("model.rope-low-freq-factor", rope_scaling.low_freq_factor, "llama3 scaling");
    field("model.rope-high-freq-factor", rope_scaling.high_freq_factor, "llama3 scaling");
    field("model.rope-original-positions", rope_scaling.original_positions, "context before scaling");
    field("model.activation", activation, "silu | relu | drelu");
    field("model.tied-embeddings", tied_embeddings, "output head shares the embedding");
    field("model.qkv-bias", qkv_bias, "biases on the q, k and v projections (Qwen2)");
    field("model.qk-norm", qk_norm, "RMSNorm per head on q and k before RoPE (Qwen3)");
    field("model.bos-id", bos_id, "begin-of-text token; -1 = none");
    field("model.eos-ids", eos_ids, "end-of-text tokens");
    field("model.ffn-experts", routed.experts, "routed experts of each FFN; 0 = dense");
    field("model.ffn-active", routed.active, "experts on for a token; one number, or one a layer");
    field("model.ffn-shared", routed.shared, "neurons that are always on; one number, or one a layer");
    field("model.ffn-expert-neurons", routed.neurons, "neurons of each expert; none = as even as possible");
    field("model.ffn-align", routed.align, "even sizes of experts are multiples of this");
    field("model.ffn-router", routed.router, "linear | lowrank | neuron | oracle | random | none");
    field("model.ffn-router-rank", routed.rank, "rows an expert has in a lowrank or neuron router");
    field("model.ffn-threshold", routed.threshold, "experts are on by score instead of by rank");
    field("model.ffn-router-seed", routed.seed, "seed of the random router");
  }

  // Fills the derived zeros (kv_heads, head_dim) and checks every rule of 08 §3.3 C59-C67 that concerns
  // sizes. Error(BadInput) names the field, what it is and what is allowed.
  void complete_and_check(const std::string& where);
};

}  // namespace lacuna
