#include "src/format/sparsity_json.h"

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

constexpr std::int64_t kVersion = 1;

double read_share(const Json& value, const std::string& where) {
  const double share = value.is_number() ? value.get<double>() : -1;
  LACUNA_CHECK(share >= 0 && share <= 1, ErrorKind::BadInput, "{}: a share of zeros is {}, wanted 0 to 1",
               where, printable(value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 40)));
  return share;
}

}  // namespace

std::string write_sparsity(const SparsityInfo& info, const ModelConfig& config, bool bundled) {
  Json json;
  json["version"] = kVersion;
  json["activation"] = name_of(info.activation);
  if (info.tokens > 0)
    json["measured"] = {{"tokens", info.tokens},
                        {"ffn_sparsity", info.ffn_sparsity},
                        {"ffn_sparsity_per_layer", info.per_layer}};
  json["tensors"] = Json::array();
  if (bundled)
    json["tensors"].push_back({{"name", "model.layers.{layer}.mlp.up_down.weight"},
                               {"shape", {config.ffn, 2, config.hidden}},
                               {"rows", "row i of up, then column i of down"}});
  return json.dump(2) + "\n";
}

SparsityInfo read_sparsity(const std::string& text, const ModelConfig& config, const std::string& where) {
  const Json json = parse_json(text, where);
  LACUNA_CHECK(json.is_object(), ErrorKind::BadInput, "{}: not a JSON object", where);
  const std::int64_t version = json_int(json, "version", where);
  LACUNA_CHECK(version == kVersion, ErrorKind::BadInput, "{}: version {} is not supported ({} is)", where,
               version, kVersion);
  SparsityInfo info;
  info.activation = parse_activation(json_string(json, "activation", where));
  LACUNA_CHECK(info.activation == config.activation, ErrorKind::BadInput,
               "{}: activation {}, config.json says {}", where, name_of(info.activation),
               name_of(config.activation));
  if (!json.contains("measured")) return info;
  const Json& measured = json["measured"];
  info.tokens = json_int(measured, "tokens", where);
  LACUNA_CHECK(info.tokens > 0, ErrorKind::BadInput, "{}: measured on {} tokens", where, info.tokens);
  LACUNA_CHECK(measured.contains("ffn_sparsity") && measured.contains("ffn_sparsity_per_layer") &&
                   measured["ffn_sparsity_per_layer"].is_array(),
               ErrorKind::BadInput, "{}: measured wants ffn_sparsity and ffn_sparsity_per_layer", where);
  info.ffn_sparsity = read_share(measured["ffn_sparsity"], where);
  for (const Json& value : measured["ffn_sparsity_per_layer"])
    info.per_layer.push_back(read_share(value, where));
  LACUNA_CHECK(static_cast<std::int64_t>(info.per_layer.size()) == config.layers, ErrorKind::BadInput,
               "{}: {} layers, config.json says {}", where, info.per_layer.size(), config.layers);
  return info;
}

}  // namespace lacuna
