#include "src/checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/checkpoint/config_json.h"

namespace lacuna {

namespace {

constexpr const char* kFormat = "lacuna-checkpoint";
constexpr std::array<const char*, 4> kRoles = {"slabs", "state", "embedded", "config"};

// ---- writing

std::string line(const char* key, const Json& value) {
  return Json(key).dump() + ": " + value.dump() + ",\n";
}

Json to_json(const FileEntry& file) {
  return {{"name", file.name},
          {"role", kRoles[static_cast<std::size_t>(file.role)]},
          {"bytes", file.bytes},
          {"xxh3_128", file.xxh3_128}};
}

Json to_json(const SlabEntry& slab) {
  return {{"name", slab.name},          {"dtype", std::string(name_of(slab.dtype))},
          {"shape", slab.shape},        {"offset", slab.slab.offset},
          {"extent", slab.slab.extent}, {"file", slab.file},
          {"dataset", slab.dataset},    {"xxh3_64", to_hex(slab.xxh3_64)}};
}

template <class Entry>
std::string lines(const char* key, const std::vector<Entry>& entries) {
  std::string out = Json(key).dump() + ": [";
  for (std::size_t i = 0; i < entries.size(); ++i) out += (i ? ",\n  " : "\n  ") + to_json(entries[i]).dump();
  return out + "\n],\n";
}

// ---- reading

std::uint64_t hex64(const std::string& text, const std::string& where) {
  std::uint64_t value = 0;
  LACUNA_CHECK(text.size() == 16, ErrorKind::BadInput, "{}: '{}' is not 16 hexadecimal digits", where,
               printable(text));
  for (char c : text) {
    const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
    LACUNA_CHECK(digit || letter, ErrorKind::BadInput, "{}: '{}' is not 16 hexadecimal digits", where,
                 printable(text));
    value = value << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

ContentHash parse_content(const std::string& text, const std::string& where) {
  LACUNA_CHECK(text.size() == 32, ErrorKind::BadInput, "{}: content hash of {} digits, wanted 32", where,
               text.size());
  return {hex64(text.substr(16), where), hex64(text.substr(0, 16), where)};
}

const Json& list_of(const Json& object, const char* key, const std::string& where) {
  LACUNA_CHECK(object.contains(key) && object.at(key).is_array(), ErrorKind::BadInput, "{}: no list '{}'",
               where, key);
  return object.at(key);
}

std::vector<std::int64_t> numbers(const Json& object, const char* key, const std::string& where) {
  std::vector<std::int64_t> out;
  for (const Json& item : list_of(object, key, where)) {
    LACUNA_CHECK(item.is_number_integer(), ErrorKind::BadInput, "{}: '{}' holds {}", where, key,
                 item.type_name());
    out.push_back(item.get<std::int64_t>());
  }
  return out;
}

std::string plain(const Json& object, const char* key, const std::string& where) {
  const std::string name = json_string(object, key, where);
  LACUNA_CHECK(is_plain_name(name), ErrorKind::BadInput, "{}: '{}' is not a plain file name", where,
               printable(name));
  return name;
}

FileEntry parse_file(const Json& object, const std::string& where) {
  FileEntry file;
  file.name = plain(object, "name", where);
  LACUNA_CHECK(file.name != kManifestName, ErrorKind::BadInput, "{}: lists itself as a file", where);
  const std::string role = json_string(object, "role", where);
  const auto found = std::find(kRoles.begin(), kRoles.end(), role);
  LACUNA_CHECK(found != kRoles.end(), ErrorKind::BadInput, "{}: file {}: unknown role '{}'", where, file.name,
               printable(role));
  file.role = static_cast<FileRole>(found - kRoles.begin());
  const std::int64_t bytes = json_int(object, "bytes", where);
  LACUNA_CHECK(bytes >= 0, ErrorKind::BadInput, "{}: file {} of {} bytes", where, file.name, bytes);
  file.bytes = static_cast<std::uint64_t>(bytes);
  file.xxh3_128 = json_string(object, "xxh3_128", where);
  return file;
}

SlabEntry parse_slab(const Json& object, const std::string& where) {
  SlabEntry slab;
  slab.name = json_string(object, "name", where);
  const std::string here = where + ": slab of " + printable(slab.name);
  slab.dtype = with_context(here, [&] { return parse_dtype(json_string(object, "dtype", here)); });
  slab.shape = numbers(object, "shape", here);
  slab.slab = {numbers(object, "offset", here), numbers(object, "extent", here)};
  slab.file = plain(object, "file", here);
  slab.dataset = json_string(object, "dataset", here);
  slab.xxh3_64 = hex64(json_string(object, "xxh3_64", here), here);
  return slab;
}

void parse_lists(const Json& object, const std::string& where, std::vector<FileEntry>& files,
                 std::vector<SlabEntry>& slabs) {
  for (const Json& item : list_of(object, "files", where)) files.push_back(parse_file(item, where));
  for (const Json& item : list_of(object, "slabs", where)) slabs.push_back(parse_slab(item, where));
}

// Cuts the last line off and compares its hash with that of the rest.
void check_own_hash(const std::string& text, const std::string& where) {
  const std::size_t end = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  LACUNA_CHECK(end != std::string::npos && text.back() == '\n', ErrorKind::BadInput,
               "{}: cut off: it does not end with its hash", where);
  const std::string want = fmt::format("\"sha256\": \"{}\"}}\n", sha256_hex(text.data(), end + 1));
  LACUNA_CHECK(text.compare(end + 1, std::string::npos, want) == 0, ErrorKind::BadInput,
               "{}: its SHA-256 is wrong: damaged or edited", where);
}

}  // namespace

bool is_plain_name(const std::string& name) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 255 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

const FileEntry* Manifest::file(const std::string& name) const {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const FileEntry& f) { return f.name == name; });
  return found == files.end() ? nullptr : &*found;
}

std::string to_text(const Manifest& m) {
  std::string out = "{\n";
  out += line("format", kFormat) + line("version", kManifestVersion) + line("kind", m.kind);
  out += line("run_id", m.run_id) + line("generation", m.generation);
  out += line("step", m.step) + line("tokens", m.tokens) + line("layout", m.layout);
  out += line("config", config_to_json(m.config)) + line("state", m.state);
  out += line("probe", {{"sequences", m.probes}, {"compute", m.probe_compute}});
  out += line("content_hash", m.content.hex()) + lines("files", m.files) + lines("slabs", m.slabs);
  return out + fmt::format("\"sha256\": \"{}\"}}\n", sha256_hex(out.data(), out.size()));
}

Manifest parse_manifest(const std::string& text, const std::string& where) {
  check_own_hash(text, where);
  const Json object = parse_json(text, where);
  LACUNA_CHECK(object.is_object() && json_string(object, "format", where, "") == kFormat, ErrorKind::BadInput,
               "{}: not the manifest of a checkpoint", where);
  const std::int64_t version = json_int(object, "version", where);
  LACUNA_CHECK(version == kManifestVersion, ErrorKind::BadInput,
               "{}: format version {}; this program reads version {}{}", where, version, kManifestVersion,
               version > kManifestVersion ? " (written by a newer one: update)" : "");
  Manifest m;
  m.kind = json_string(object, "kind", where);
  m.run_id = json_string(object, "run_id", where);
  m.generation = json_string(object, "generation", where);
  m.step = json_int(object, "step", where);
  m.tokens = json_int(object, "tokens", where);
  LACUNA_CHECK(object.contains("layout") && object.at("layout").is_object() && object.contains("config") &&
                   object.contains("probe"),
               ErrorKind::BadInput, "{}: layout, config or probe are missing", where);
  for (const auto& axis : object.at("layout").items())
    m.layout[axis.key()] = json_int(object.at("layout"), axis.key().c_str(), where);
  m.config = config_from_json(object.at("config"), where);
  for (const Json& name : list_of(object, "state", where)) {
    LACUNA_CHECK(name.is_string(), ErrorKind::BadInput, "{}: a state's name is not a text", where);
    m.state.push_back(name.get<std::string>());
  }
  m.probes = json_int(object.at("probe"), "sequences", where);
  m.probe_compute = json_string(object.at("probe"), "compute", where);
  m.content = parse_content(json_string(object, "content_hash", where), where);
  parse_lists(object, where, m.files, m.slabs);
  return m;
}

std::string to_text(const ManifestPart& part) {
  return "{\n" + line("content_hash", part.content.hex()) + lines("files", part.files) +
         lines("slabs", part.slabs) + "\"end\": true}\n";
}

ManifestPart parse_part(const std::string& text, const std::string& where) {
  const Json object = parse_json(text, where);
  ManifestPart part;
  part.content = parse_content(json_string(object, "content_hash", where), where);
  parse_lists(object, where, part.files, part.slabs);
  return part;
}

}  // namespace lacuna
