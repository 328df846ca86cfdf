#include "src/format/sparsity_json.h"

#include <set>

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

Json json_of(const RoutedFfn& routed) {
  return {{"file", kRoutedTensors},           {"experts", routed.experts},
          {"active", routed.active},          {"shared_neurons", routed.shared},
          {"expert_neurons", routed.neurons}, {"align", routed.align},
          {"router", name_of(routed.router)}, {"router_rank", routed.rank},
          {"threshold", routed.threshold},    {"seed", routed.seed}};
}

std::vector<std::int64_t> read_list(const Json& object, const char* key, const std::string& where) {
  LACUNA_CHECK(object.contains(key) && object[key].is_array() && object[key].size() <= 1'000'000,
               ErrorKind::BadInput, "{}: '{}' is not a list of at most a million numbers", where, key);
  std::vector<std::int64_t> out;
  for (const Json& item : object[key]) {
    LACUNA_CHECK(item.is_number_integer(), ErrorKind::BadInput, "{}: '{}' holds {}", where, key,
                 item.type_name());
    out.push_back(item.get<std::int64_t>());
  }
  return out;
}

Json parse_versioned(const std::string& text, const std::string& where) {
  Json json = parse_json(text, where);
  LACUNA_CHECK(json.is_object(), ErrorKind::BadInput, "{}: not a JSON object", where);
  const std::int64_t version = json_int(json, "version", where);
  LACUNA_CHECK(version == kVersion, ErrorKind::BadInput, "{}: version {} is not supported ({} is)", where,
               version, kVersion);
  return json;
}

}  // namespace

std::optional<RoutedFfn> read_routed(const std::string& text, const ModelConfig& config,
                                     const std::string& where) {
  const Json json = parse_versioned(text, where);
  if (!json.contains("routed")) return std::nullopt;
  const Json& object = json["routed"];
  const std::string place = where + ": routed";
  LACUNA_CHECK(object.is_object(), ErrorKind::BadInput, "{} is not an object", place);
  const Json known = json_of({});
  for (const auto& [key, value] : object.items())
    LACUNA_CHECK(known.contains(key), ErrorKind::BadInput, "{}: unknown key '{}'", place, printable(key));
  const std::string file = json_string(object, "file", place);
  LACUNA_CHECK(file == kRoutedTensors, ErrorKind::BadInput, "{}: file is '{}', wanted {}", place,
               printable(file), kRoutedTensors);
  RoutedFfn out;
  out.experts = json_int(object, "experts", place);
  LACUNA_CHECK(out.experts > 0, ErrorKind::BadInput, "{}: experts is {}, wanted at least 1", place,
               out.experts);
  out.active = read_list(object, "active", place);
  out.shared = read_list(object, "shared_neurons", place);
  out.neurons = read_list(object, "expert_neurons", place);
  out.align = json_int(object, "align", place);
  out.router = parse_router(json_string(object, "router", place));
  out.rank = json_int(object, "router_rank", place);
  out.threshold = json_bool(object, "threshold", place, false);
  out.seed = json_int(object, "seed", place);
  out.check(config.layers, config.ffn, place);
  return out;
}

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
  if (config.is_routed()) json["routed"] = json_of(config.routed);
  return json.dump(2) + "\n";
}

SparsityInfo read_sparsity(const std::string& text, const ModelConfig& config, const std::string& where) {
  const Json json = parse_versioned(text, where);
  SparsityInfo info;
  info.activation = parse_activation(json_string(json, "activation", where));
  LACUNA_CHECK(info.activation == config.activation, ErrorKind::BadInput,
               "{}: activation {}, config.json says {}", where, name_of(info.activation),
               name_of(config.activation));
  LACUNA_CHECK(read_routed(text, config, where).value_or(RoutedFfn{}) == config.routed, ErrorKind::BadInput,
               "{}: its routed FFN is not the model's", where);
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
