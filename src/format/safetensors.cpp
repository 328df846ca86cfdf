#include "src/format/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "src/base/error.h"
#include "src/base/math.h"
#include "src/format/safetensors_scan.h"

namespace lacuna {

namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxTensors = 1'000'000, kMaxName = 1024, kMaxRank = 8, kMaxMetadata = 1 << 20;
constexpr std::int64_t kMaxExtent = (std::int64_t{1} << 48) - 1;

struct TypeRow {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};
constexpr TypeRow kTypes[] = {
    {"F64", 64, DType::F64},          {"F32", 32, DType::F32},      {"F16", 16, DType::F16},
    {"BF16", 16, DType::BF16},        {"I64", 64, DType::I64},      {"I32", 32, DType::I32},
    {"I16", 16, std::nullopt},        {"I8", 8, std::nullopt},      {"U64", 64, std::nullopt},
    {"U32", 32, DType::U32},          {"U16", 16, DType::U16},      {"U8", 8, DType::U8},
    {"BOOL", 8, std::nullopt},        {"C64", 64, std::nullopt},    {"F8_E4M3", 8, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},     {"F8_E8M0", 8, std::nullopt}, {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt}, {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},
};

const TypeRow* find_type(std::string_view name) {
  for (const TypeRow& row : kTypes)
    if (row.name == name) return &row;
  return nullptr;
}

void check_name(const detail::HeaderScanner& scan, const std::string& name) {
  if (name.empty()) scan.refuse("a tensor with an empty name");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      scan.refuse(fmt::format("control character in tensor name '{}'", printable(name)));
  if (name.front() == '/' || ("/" + name + "/").find("/../") != std::string::npos)
    scan.refuse(fmt::format("tensor name '{}' looks like a path", printable(name)));
}

SafetensorsEntry read_entry(detail::HeaderScanner& scan, std::string name) {
  check_name(scan, name);
  SafetensorsEntry entry;
  entry.name = std::move(name);
  const std::string shown = printable(entry.name);
  bool has_dtype = false, has_shape = false, has_span = false;
  const auto once = [&](bool& seen, const char* key) {
    if (seen) scan.refuse(fmt::format("tensor '{}' has '{}' twice", shown, key));
    seen = true;
  };
  scan.expect('{', fmt::format("the description of tensor '{}'", shown).c_str());
  do {
    const std::string key = scan.string(64, "a key of a tensor");
    scan.expect(':', "':'");
    if (key == "dtype") {
      once(has_dtype, "dtype");
      const std::string dtype = scan.string(64, "dtype");
      const TypeRow* type = find_type(dtype);
      if (!type) scan.refuse(fmt::format("tensor '{}': unknown dtype '{}'", shown, printable(dtype)));
      entry.dtype_name = type->name;
      entry.dtype = type->dtype;
    } else if (key == "shape") {
      once(has_shape, "shape");
      scan.expect('[', "a list (shape)");
      if (scan.accept(']')) continue;
      do {
        if (entry.shape.size() == kMaxRank)
          scan.refuse(fmt::format("tensor '{}' has more than {} dimensions", shown, kMaxRank));
        entry.shape.push_back(scan.whole_number(kMaxExtent, "a dimension"));
      } while (scan.accept(','));
      scan.expect(']', "']'");
    } else if (key == "data_offsets") {
      once(has_span, "data_offsets");
      scan.expect('[', "a list (data_offsets)");
      entry.begin = static_cast<std::uint64_t>(scan.whole_number(INT64_MAX, "a data offset"));
      scan.expect(',', "two data offsets");
      entry.end = static_cast<std::uint64_t>(scan.whole_number(INT64_MAX, "a data offset"));
      scan.expect(']', "the end of two data offsets");
    } else {
      scan.refuse(fmt::format("tensor '{}' has the unknown field '{}'", shown, printable(key)));
    }
  } while (scan.accept(','));
  scan.expect('}', "'}'");
  const char* missing = !has_dtype ? "dtype" : !has_shape ? "shape" : !has_span ? "data_offsets" : nullptr;
  if (missing) scan.refuse(fmt::format("tensor '{}' has no '{}'", shown, missing));
  return entry;
}

void read_metadata(detail::HeaderScanner& scan, std::map<std::string, std::string>& out) {
  std::size_t total = 0;
  scan.expect('{', "an object (__metadata__)");
  if (scan.accept('}')) return;
  do {
    std::string key = scan.string(kMaxMetadata, "a key of __metadata__");
    scan.expect(':', "':'");
    std::string value = scan.string(kMaxMetadata, "a value of __metadata__");
    total += key.size() + value.size();
    if (total > kMaxMetadata) scan.refuse(fmt::format("__metadata__ is larger than {} bytes", kMaxMetadata));
    const std::string shown = printable(key);
    if (!out.emplace(std::move(key), std::move(value)).second)
      scan.refuse(fmt::format("__metadata__ has '{}' twice", shown));
  } while (scan.accept(','));
  scan.expect('}', "'}'");
}

// Compares shape × element size with the span; all products are checked.
void check_size(const SafetensorsEntry& entry, std::uint64_t data_bytes, const std::string& where) {
  const std::string shown = printable(entry.name);
  const TypeRow* type = find_type(entry.dtype_name);
  LACUNA_CHECK(entry.begin <= entry.end, ErrorKind::BadInput,
               "{}: tensor '{}': data offsets {} and {} are reversed", where, shown, entry.begin, entry.end);
  LACUNA_CHECK(entry.end <= data_bytes, ErrorKind::BadInput,
               "{}: tensor '{}' ends at byte {}, past the {} bytes of data", where, shown, entry.end,
               data_bytes);
  const std::string what = fmt::format("{}: tensor '{}': size", where, shown);
  std::int64_t elements = 1;
  for (const std::int64_t extent : entry.shape) elements = checked_mul(elements, extent, what.c_str());
  const std::int64_t bits = checked_mul(elements, type->bits, what.c_str());
  LACUNA_CHECK(bits % 8 == 0, ErrorKind::BadInput, "{}: tensor '{}': {} elements of {} are no whole bytes",
               where, shown, elements, type->name);
  LACUNA_CHECK(static_cast<std::uint64_t>(bits / 8) == entry.end - entry.begin, ErrorKind::BadInput,
               "{}: tensor '{}': shape and dtype want {} bytes, its span has {}", where, shown, bits / 8,
               entry.end - entry.begin);
}

void check_tiling(const std::vector<SafetensorsEntry>& sorted, std::uint64_t data_bytes,
                  const std::string& where) {
  std::uint64_t at = 0;
  const SafetensorsEntry* before = nullptr;
  for (const SafetensorsEntry& entry : sorted) {
    LACUNA_CHECK(entry.begin >= at, ErrorKind::BadInput,
                 "{}: tensors '{}' and '{}' overlap at byte {} of the data", where, printable(before->name),
                 printable(entry.name), entry.begin);
    LACUNA_CHECK(entry.begin == at, ErrorKind::BadInput, "{}: a hole of {} bytes before tensor '{}'", where,
                 entry.begin - at, printable(entry.name));
    at = entry.end;
    before = &entry;
  }
  LACUNA_CHECK(at == data_bytes, ErrorKind::BadInput, "{}: {} bytes follow the last tensor", where,
               data_bytes - at);
}

void check_unique(const std::vector<SafetensorsEntry>& entries, const std::string& where) {
  std::vector<const SafetensorsEntry*> by_name;
  by_name.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) by_name.push_back(&entry);
  const auto less = [](const auto* a, const auto* b) { return a->name < b->name; };
  std::sort(by_name.begin(), by_name.end(), less);
  const auto twin = std::adjacent_find(by_name.begin(), by_name.end(),
                                       [](const auto* a, const auto* b) { return a->name == b->name; });
  LACUNA_CHECK(twin == by_name.end(), ErrorKind::BadInput, "{}: tensor '{}' is named twice", where,
               printable((*twin)->name));
}

// How many tensors the header seems to have, before anything is stored; too many are refused here.
std::size_t count_entries(std::string_view json, const std::string& where) {
  constexpr std::string_view kKey = "\"data_offsets\"";
  std::size_t count = 0;
  for (std::size_t at = json.find(kKey); at != std::string_view::npos; at = json.find(kKey, at + kKey.size()))
    ++count;
  LACUNA_CHECK(count <= kMaxTensors, ErrorKind::BadInput, "{}: more than {} tensors", where, kMaxTensors);
  return count;
}

// The file is something else under this name: say what.
void refuse_other_formats(std::string_view head, const std::string& where) {
  LACUNA_CHECK(head.substr(0, 30) != "version https://git-lfs.github", ErrorKind::BadInput,
               "{}: a git-lfs pointer, not the data; run 'git lfs pull' in its repository", where);
  const bool pickle =
      head.substr(0, 4) == "PK\x03\x04" || (head.size() > 1 && head[0] == '\x80' && head[1] <= 5);
  const bool has_header = head.size() > 8 && head[8] == '{';  // a header of 0x0280 bytes starts like a pickle
  LACUNA_CHECK(!pickle || has_header, ErrorKind::BadInput,
               "{}: a PyTorch pickle, which can run code and is never read; convert it to safetensors",
               where);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& where) {
  LACUNA_CHECK(!json.empty() && json.front() == '{', ErrorKind::BadInput,
               "{}: the header does not start with '{{' but with '{}'", where, printable(json.substr(0, 1)));
  SafetensorsHeader header;
  header.entries.reserve(count_entries(json, where));
  detail::HeaderScanner scan(json, where);
  bool has_metadata = false;
  scan.expect('{', "'{'");
  if (!scan.accept('}')) {
    do {
      std::string name = scan.string(kMaxName, "a tensor name");
      scan.expect(':', "':'");
      if (name == "__metadata__") {
        if (has_metadata) scan.refuse("__metadata__ is there twice");
        has_metadata = true;
        read_metadata(scan, header.metadata);
        continue;
      }
      if (header.entries.size() == kMaxTensors) scan.refuse(fmt::format("more than {} tensors", kMaxTensors));
      header.entries.push_back(read_entry(scan, std::move(name)));
    } while (scan.accept(','));
    scan.expect('}', "'}'");
  }
  scan.finish();
  check_unique(header.entries, where);
  for (const SafetensorsEntry& entry : header.entries) check_size(entry, data_bytes, where);
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) <
           std::pair(b.begin, b.end);  // an empty tensor stands before its neighbour
  });
  check_tiling(header.entries, data_bytes, where);
  return header;
}

SafetensorsFile::SafetensorsFile(const std::string& path, bool follow) : file_(path, follow) {
  const std::span<const std::byte> bytes = file_.bytes();
  refuse_other_formats({reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 64)},
                       path);
  LACUNA_CHECK(bytes.size() >= 8, ErrorKind::BadInput, "{}: {} bytes, too short for a safetensors file", path,
               bytes.size());
  const std::uint64_t length = BoundedReader(bytes, path).u64();
  LACUNA_CHECK(length > 0, ErrorKind::BadInput, "{}: the header length is 0", path);
  LACUNA_CHECK(length <= kMaxHeader, ErrorKind::BadInput, "{}: the header length {} is above {}", path,
               length, kMaxHeader);
  LACUNA_CHECK(length <= bytes.size() - 8, ErrorKind::BadInput,
               "{}: the header length {} is more than the {} bytes of the file", path, length, bytes.size());
  data_at_ = 8 + static_cast<std::size_t>(length);
  header_ = parse_safetensors_header({reinterpret_cast<const char*>(bytes.data()) + 8, data_at_ - 8},
                                     bytes.size() - data_at_, path);
  std::error_code problem;
  LACUNA_CHECK(std::filesystem::file_size(path, problem) == bytes.size() && !problem, ErrorKind::BadInput,
               "{}: the file changed its size while it was read", path);
  for (std::size_t i = 0; i < header_.entries.size(); ++i) by_name_.emplace(header_.entries[i].name, i);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &header_.entries[found->second];
}

std::span<const std::byte> SafetensorsFile::data(const SafetensorsEntry& entry) const {
  return file_.bytes().subspan(data_at_ + entry.begin, entry.end - entry.begin);
}

}  // namespace lacuna
