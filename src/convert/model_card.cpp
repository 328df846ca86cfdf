#include "src/convert/model_card.h"

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/file.h"

namespace lacuna {

namespace {

class Table {
 public:
  Table(const std::string& left, const std::string& right) {
    out_ = "| " + left + " | " + right + " |\n|---|---|\n";
  }
  template <class... Args>
  void row(const std::string& name, fmt::format_string<Args...> format, Args&&... args) {
    std::string value = printable(fmt::format(format, std::forward<Args>(args)...));
    for (std::size_t at = 0; (at = value.find('|', at)) != std::string::npos; at += 2) value.insert(at, "\\");
    out_ += "| " + name + " | " + value + " |\n";
  }
  const std::string& text() const { return out_; }

 private:
  std::string out_;
};

std::string describe(const CheckpointMeta& meta, const ModelCard& facts) {
  const ModelConfig& config = meta.config;
  Table table("fact", "value");
  table.row("architecture", "{}, FFN activation {}", config.family, name_of(config.activation));
  table.row("parameters", "{}", parameter_count(config));
  table.row("layers, hidden, FFN neurons", "{}, {}, {}", config.layers, config.hidden, config.ffn);
  if (config.is_routed())
    table.row("routed FFN", "{} experts, {} router, on for a token: {}; shared neurons: {}",
              config.routed.experts, name_of(config.routed.router),
              config.routed.threshold ? "by score" : to_text(config.routed.active),
              to_text(config.routed.shared));
  table.row("query heads, key/value heads, head size", "{}, {}, {}", config.heads, config.kv_heads,
            config.head_dim);
  table.row("vocabulary, trained context", "{}, {}", config.vocab, config.max_positions);
  table.row("weights", "{}", facts.dtype);
  table.row("checkpoint", "{}", facts.checkpoint);
  table.row("content hash", "{}", facts.content_hash);
  table.row("made by", "{}, step {}, {} tokens", meta.kind, meta.step, meta.tokens);
  for (const auto& [key, value] : meta.state) {
    if (key.starts_with("fact.")) table.row(key.substr(5), "{}", value);
    if (key.starts_with("import.")) table.row(key, "{}", value);
  }
  table.row("exported by", "`{}`", facts.command);
  return table.text();
}

std::string describe_zeros(const CheckpointMeta& meta, const SparsityInfo& measured) {
  std::string out = fmt::format(
      "\n## Exact zeros of the FFN product\n\nMeasured by the inference engine on the {} tokens of the "
      "probe: {:.4f} "
      "over all layers.\n\n",
      measured.tokens, measured.ffn_sparsity);
  Table table("layer", "engine, probe · training, last step");
  for (std::size_t layer = 0; layer < measured.per_layer.size(); ++layer) {
    const auto trained = meta.state.find(fmt::format("zeros.{:04}", layer));
    table.row(std::to_string(layer), "{:.4f} · {}", measured.per_layer[layer],
              trained == meta.state.end() ? "unknown" : trained->second);
  }
  return out + table.text();
}

}  // namespace

std::string write_model_card(const CheckpointMeta& meta, const SelfCheck& check, const ModelCard& facts) {
  std::string out = "# Model card\n\n" + describe(meta, facts);
  out += fmt::format(
      "\n## Check\n\nThe engine on this folder against the checkpoint's own logits ({}), {} sequences: "
      "largest "
      "difference {:.3g} (bound {:.3g}), root mean square {:.3g} (bound {:.3g}).\n",
      meta.probe.compute, check.sequences, check.worst_abs, check.abs_bound, check.worst_rms,
      check.rms_bound);
  if (meta.config.activation != Activation::Silu || meta.config.is_routed())
    out += describe_zeros(meta, check.sparsity);
  if (!meta.config_ini.empty())
    out += "\n## Configuration of the run\n\n```ini\n" + meta.config_ini + "```\n";
  return out;
}

}  // namespace lacuna
