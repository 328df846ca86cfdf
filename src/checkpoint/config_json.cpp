#include "src/checkpoint/config_json.h"

#include <set>

#include "src/base/error.h"
#include "src/base/file.h"

namespace lacuna {

namespace {

struct Write {
  Json& out;
  void operator()(const char* name, Activation& value, const char*) { out[name] = name_of(value); }
  void operator()(const char* name, RouterKind& value, const char*) { out[name] = name_of(value); }
  template <class T>
  void operator()(const char* name, T& value, const char*) {
    out[name] = value;
  }
};

struct Read {
  const Json& in;
  const std::string& where;
  std::set<std::string> known;

  void operator()(const char* name, Activation& value, const char*) {
    if (note(name)) value = parse_activation(json_string(in, name, where));
  }
  void operator()(const char* name, RouterKind& value, const char*) {
    if (note(name)) value = parse_router(json_string(in, name, where));
  }
  void operator()(const char* name, std::string& value, const char*) {
    if (note(name)) value = json_string(in, name, where);
  }
  void operator()(const char* name, std::int64_t& value, const char*) {
    if (note(name)) value = json_int(in, name, where);
  }
  void operator()(const char* name, double& value, const char*) {
    if (note(name)) value = json_double(in, name, where, value);
  }
  void operator()(const char* name, bool& value, const char*) {
    if (note(name)) value = json_bool(in, name, where, value);
  }
  void operator()(const char* name, std::vector<std::int64_t>& value, const char*) {
    if (!note(name)) return;
    const Json& list = in.at(name);
    LACUNA_CHECK(list.is_array(), ErrorKind::BadInput, "{}: {} is not a list", where, name);
    value.clear();
    for (const Json& item : list) {
      LACUNA_CHECK(item.is_number_integer(), ErrorKind::BadInput, "{}: {} holds {}", where, name,
                   item.type_name());
      value.push_back(item.get<std::int64_t>());
    }
  }

 private:
  bool note(const char* name) {
    known.insert(name);
    return in.contains(name);
  }
};

}  // namespace

Json config_to_json(const ModelConfig& config) {
  Json out = Json::object();
  ModelConfig copy = config;  // visit() hands out references
  copy.visit(Write{out});
  return out;
}

ModelConfig config_from_json(const Json& object, const std::string& where) {
  LACUNA_CHECK(object.is_object(), ErrorKind::BadInput, "{}: config is not an object", where);
  ModelConfig config;
  Read read{object, where, {}};
  config.visit(read);
  for (const auto& item : object.items())
    LACUNA_CHECK(read.known.count(item.key()), ErrorKind::BadInput, "{}: unknown field '{}' of the model",
                 where, printable(item.key()));
  return config;
}

}  // namespace lacuna
