#include "src/arch/model_config.h"

#include <cmath>

#include "src/base/error.h"

namespace lacuna {

std::string name_of(Activation activation) {
  switch (activation) {
    case Activation::Silu: return "silu";
    case Activation::Relu: return "relu";
    case Activation::Drelu: return "drelu";
  }
  return "?";
}

Activation parse_activation(const std::string& name) {
  if (name == "silu" || name == "swish") return Activation::Silu;
  if (name == "relu") return Activation::Relu;
  if (name == "drelu") return Activation::Drelu;
  fail(ErrorKind::BadInput, "unknown activation '{}' (silu, relu and drelu are known)", name);
}

void ModelConfig::complete_and_check(const std::string& where) {
  constexpr std::int64_t kSizeLimit = std::int64_t{1} << 24, kProductLimit = std::int64_t{1} << 48;
  const auto positive = [&](const char* name, std::int64_t value, std::int64_t limit) {
    LACUNA_CHECK(value > 0 && value <= limit, ErrorKind::BadInput, "{}: {} is {}, wanted 1 to {}", where, name,
                 value, limit);
  };
  LACUNA_CHECK(family == "llama" || family == "mistral" || family == "qwen2" || family == "qwen3",
               ErrorKind::BadInput, "{}: unknown model family '{}' (llama, mistral, qwen2, qwen3)", where, family);
  positive("hidden", hidden, kSizeLimit);
  positive("ffn", ffn, kSizeLimit);
  positive("layers", layers, 4096);
  positive("heads", heads, 65536);
  if (kv_heads == 0) kv_heads = heads;
  positive("kv-heads", kv_heads, heads);
  positive("vocab", vocab, kSizeLimit);
  positive("max-positions", max_positions, std::int64_t{1} << 31);
  if (head_dim == 0) {
    LACUNA_CHECK(hidden % heads == 0, ErrorKind::BadInput, "{}: {} heads do not divide hidden {}", where, heads,
                 hidden);
    head_dim = hidden / heads;
  }
  positive("head-dim", head_dim, 65536);
  LACUNA_CHECK(head_dim % 2 == 0, ErrorKind::BadInput, "{}: head-dim {} is odd, rotary embedding needs pairs",
               where, head_dim);
  LACUNA_CHECK(heads % kv_heads == 0, ErrorKind::BadInput, "{}: {} kv-heads do not divide {} heads", where,
               kv_heads, heads);
  LACUNA_CHECK(hidden * vocab < kProductLimit && hidden * ffn < kProductLimit, ErrorKind::BadInput,
               "{}: hidden {} times vocab {} or ffn {} is beyond 2^48", where, hidden, vocab, ffn);
  LACUNA_CHECK(std::isfinite(norm_eps) && norm_eps > 0, ErrorKind::BadInput, "{}: norm-eps is {}, wanted > 0",
               where, norm_eps);
  LACUNA_CHECK(std::isfinite(rope_theta) && rope_theta > 0, ErrorKind::BadInput,
               "{}: rope-theta is {}, wanted > 0", where, rope_theta);
  const RopeScaling& scaling = rope_scaling;
  LACUNA_CHECK(scaling.kind == "none" || scaling.kind == "linear" || scaling.kind == "llama3",
               ErrorKind::BadInput, "{}: unknown rope scaling '{}' (none, linear, llama3)", where, scaling.kind);
  if (scaling.kind != "none")
    LACUNA_CHECK(std::isfinite(scaling.factor) && scaling.factor > 0, ErrorKind::BadInput,
                 "{}: rope factor is {}, wanted > 0", where, scaling.factor);
  if (scaling.kind == "llama3")
    LACUNA_CHECK(scaling.high_freq_factor > scaling.low_freq_factor && scaling.low_freq_factor > 0 &&
                     scaling.original_positions > 0,
                 ErrorKind::BadInput, "{}: llama3 rope scaling wants 0 < low {} < high {} and original-positions {} > 0",
                 where, scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_positions);
  LACUNA_CHECK(sliding_window >= 0, ErrorKind::BadInput, "{}: sliding-window {} is negative", where,
               sliding_window);
  LACUNA_CHECK(bos_id >= -1 && bos_id < vocab, ErrorKind::BadInput, "{}: bos id {} is outside the vocabulary of {}",
               where, bos_id, vocab);
  for (std::int64_t id : eos_ids)
    LACUNA_CHECK(id >= 0 && id < vocab, ErrorKind::BadInput, "{}: eos id {} is outside the vocabulary of {}", where,
                 id, vocab);
  routed.check(layers, ffn, where);
}

}  // namespace lacuna
