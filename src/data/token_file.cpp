#include "src/data/token_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/h5/file.h"

namespace lacuna {
namespace {

constexpr const char* format_name = "lacuna.tokens";
constexpr std::int64_t format_version = 1, chunk_tokens = 1 << 20, chunk_offsets = 1 << 16;
constexpr std::int64_t max_tokenizer_bytes = 100'000'000, max_vocabulary = 1 << 30;
const std::string tokenizer_group = "tokenizer/";

// A companion's bytes may be empty, a dataset may not.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

void check_id(std::int64_t id, std::int64_t at, std::int64_t vocab_size, const std::string& where) {
  LACUNA_CHECK(id >= 0 && id < vocab_size, ErrorKind::BadInput,
               "{}: token {} has the id {}, the vocabulary has {}", where, at, id, vocab_size);
}

}  // namespace

struct TokenFileWriter::State {
  std::string path, temporary;
  TokenFileMeta meta;
  DType dtype = DType::U16;
  std::optional<h5::File> file;
  std::optional<h5::Dataset> data;
  std::vector<std::uint16_t> held16;  // the chunk that fills
  std::vector<std::uint32_t> held32;
  std::int64_t written = 0;
  std::vector<std::int64_t> offsets = {0};

  std::int64_t held() const {
    return static_cast<std::int64_t>(dtype == DType::U16 ? held16.size() : held32.size());
  }
  void flush() {
    const std::int64_t count = held();
    if (count == 0) return;
    data->resize(written + count);
    data->write({written}, {count},
                dtype == DType::U16 ? static_cast<const void*>(held16.data()) : held32.data());
    written += count;
    held16.clear();
    held32.clear();
  }
};

TokenFileWriter::TokenFileWriter(std::string path, TokenFileMeta meta) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = std::move(path);
  s.meta = std::move(meta);
  LACUNA_ASSERT(s.meta.vocab_size > 0 && s.meta.vocab_size <= max_vocabulary);
  LACUNA_CHECK(!std::filesystem::exists(s.path), ErrorKind::Storage, "{} exists already", printable(s.path));
  s.temporary = fmt::format("{}.{}.tmp", s.path, getpid());
  s.dtype = s.meta.vocab_size <= 65536 ? DType::U16 : DType::U32;
  s.file = h5::File::create(s.temporary);
  s.data = s.file->create_dataset("tokens", s.dtype, {0}, {.chunk_rows = chunk_tokens});
}

TokenFileWriter::~TokenFileWriter() {
  if (!state_ || !state_->file) return;
  state_->data.reset();
  state_->file.reset();
  std::remove(state_->temporary.c_str());
}

std::int64_t TokenFileWriter::tokens() const {
  return state_->written + state_->held();
}

void TokenFileWriter::set_source_sha256(const std::string& digest) {
  state_->meta.source_sha256 = digest;
}

void TokenFileWriter::add(const std::int32_t* ids, std::int64_t count) {
  State& s = *state_;
  for (std::int64_t i = 0; i < count; ++i) {
    check_id(ids[i], tokens(), s.meta.vocab_size, s.path);
    if (s.dtype == DType::U16) {
      s.held16.push_back(static_cast<std::uint16_t>(ids[i]));
    } else {
      s.held32.push_back(static_cast<std::uint32_t>(ids[i]));
    }
    if (s.held() == chunk_tokens) s.flush();
  }
}

void TokenFileWriter::end_document() {
  if (tokens() > state_->offsets.back()) state_->offsets.push_back(tokens());
}

void TokenFileWriter::finish() {
  State& s = *state_;
  end_document();
  LACUNA_CHECK(tokens() > 0, ErrorKind::BadInput, "{}: no tokens to write (the text is empty)",
               printable(s.path));
  s.flush();
  s.data.reset();
  h5::File& file = *s.file;
  file.write_all("doc_offsets", DType::I64, static_cast<std::int64_t>(s.offsets.size()), s.offsets.data());
  for (const auto& [name, bytes] : s.meta.tokenizer_files) {
    LACUNA_ASSERT(is_plain_name(name));
    if (!bytes.empty()) file.write_bytes(tokenizer_group + name, bytes);
  }
  file.set_attribute("format", format_name);
  file.set_attribute("version", format_version);
  file.set_attribute("vocab_size", s.meta.vocab_size);
  file.set_attribute("eos_id", static_cast<std::int64_t>(s.meta.eos_id));
  file.set_attribute("tokenizer_sha256", s.meta.tokenizer_sha256);
  file.set_attribute("source", s.meta.source.substr(0, 50'000));
  file.set_attribute("source_sha256", s.meta.source_sha256);
  file.close();
  s.file.reset();
  std::error_code failed;
  std::filesystem::rename(s.temporary, s.path, failed);
  if (failed) std::remove(s.temporary.c_str());
  LACUNA_CHECK(!failed, ErrorKind::Storage, "cannot rename {} to {}: {}", s.temporary, s.path,
               failed.message());
  const std::string folder = std::filesystem::path(s.path).parent_path().string();
  fsync_folder(folder.empty() ? "." : folder);
}

struct TokenFile::State {
  explicit State(const std::string& path) : file(h5::File::open(path)) {}
  h5::File file;
  std::optional<h5::Dataset> data;
  TokenFileMeta meta;
  std::vector<std::int64_t> offsets;
  std::int64_t count = 0;

  void read_meta(const std::string& path) {
    LACUNA_CHECK(file.has_attribute("format") && file.text_attribute("format") == format_name,
                 ErrorKind::BadInput, "{}: not a token file (its attribute 'format' is not {})", path,
                 format_name);
    const std::int64_t version = file.int_attribute("version");
    LACUNA_CHECK(version == format_version, ErrorKind::BadInput,
                 "{}: token file of version {}, this program reads {}", path, version, format_version);
    meta.vocab_size = file.int_attribute("vocab_size");
    LACUNA_CHECK(meta.vocab_size > 0 && meta.vocab_size <= max_vocabulary, ErrorKind::BadInput,
                 "{}: vocab_size is {}", path, meta.vocab_size);
    const std::int64_t eos = file.int_attribute("eos_id");
    LACUNA_CHECK(eos >= -1 && eos < meta.vocab_size, ErrorKind::BadInput,
                 "{}: eos_id is {}, the vocabulary has {}", path, eos, meta.vocab_size);
    meta.eos_id = static_cast<std::int32_t>(eos);
    meta.tokenizer_sha256 = file.text_attribute("tokenizer_sha256");
    meta.source = file.text_attribute("source");
    meta.source_sha256 = file.text_attribute("source_sha256");
    for (const std::string& name : file.datasets())
      if (name.rfind(tokenizer_group, 0) == 0)
        meta.tokenizer_files[name.substr(tokenizer_group.size())] =
            file.read_bytes(name, max_tokenizer_bytes);
  }

  void open_tokens(const std::string& path) {
    data = file.open_dataset("tokens");
    const h5::DatasetInfo& info = data->info();
    LACUNA_CHECK((info.dtype == DType::U16 || info.dtype == DType::U32) && info.shape.size() == 1,
                 ErrorKind::BadInput, "{}: /tokens must be one row of uint16 or uint32", path);
    count = info.shape[0];
    LACUNA_CHECK(count > 0, ErrorKind::BadInput, "{}: no tokens", path);
  }

  void read_offsets(const std::string& path) {
    const h5::Dataset dataset = file.open_dataset("doc_offsets");
    const h5::DatasetInfo& info = dataset.info();
    LACUNA_CHECK(info.dtype == DType::I64 && info.shape.size() == 1 && info.shape[0] >= 2 &&
                     info.shape[0] - 1 <= count,
                 ErrorKind::BadInput, "{}: /doc_offsets must hold 2 to {} int64", path, count + 1);
    offsets.resize(static_cast<std::size_t>(info.shape[0]));
    dataset.read(offsets.data());
    const auto back =
        std::adjacent_find(offsets.begin(), offsets.end(), [](auto a, auto b) { return a >= b; });
    LACUNA_CHECK(back == offsets.end(), ErrorKind::BadInput, "{}: /doc_offsets does not increase at {}", path,
                 back - offsets.begin() + 1);
    LACUNA_CHECK(offsets.front() == 0 && offsets.back() == count, ErrorKind::BadInput,
                 "{}: /doc_offsets runs from {} to {}, wanted 0 to {}", path, offsets.front(), offsets.back(),
                 count);
  }
};

TokenFile::TokenFile(const std::string& path) : state_(std::make_unique<State>(path)) {
  const std::string shown = printable(path);
  state_->read_meta(shown);
  state_->open_tokens(shown);
  state_->read_offsets(shown);
}
TokenFile::~TokenFile() = default;
TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile& TokenFile::operator=(TokenFile&&) noexcept = default;

const std::string& TokenFile::path() const {
  return state_->file.path();
}
const TokenFileMeta& TokenFile::meta() const {
  return state_->meta;
}
std::int64_t TokenFile::tokens() const {
  return state_->count;
}
std::int64_t TokenFile::documents() const {
  return static_cast<std::int64_t>(state_->offsets.size()) - 1;
}
DType TokenFile::dtype() const {
  return state_->data->info().dtype;
}
const std::vector<std::int64_t>& TokenFile::doc_offsets() const {
  return state_->offsets;
}

void TokenFile::read(std::int64_t first, std::int64_t count, std::int32_t* ids) const {
  const State& s = *state_;
  LACUNA_CHECK(first >= 0 && count >= 0 && first <= s.count && count <= s.count - first, ErrorKind::BadInput,
               "{}: tokens {} to {} were asked for, the file has {}", path(), first, first + count, s.count);
  if (count == 0) return;
  if (dtype() == DType::U16) {
    std::vector<std::uint16_t> raw(static_cast<std::size_t>(count));
    s.data->read({first}, {count}, raw.data());
    std::copy(raw.begin(), raw.end(), ids);
  } else {
    s.data->read({first}, {count}, ids);  // ids above 2^31 turn negative and are refused below
  }
  for (std::int64_t i = 0; i < count; ++i) check_id(ids[i], first + i, s.meta.vocab_size, path());
}

std::string TokenFile::fingerprint() const {
  const TokenFileMeta& m = state_->meta;
  const std::string text = fmt::format("{} {} {} {} {}", state_->count, documents(), m.vocab_size,
                                       m.tokenizer_sha256, m.source_sha256);
  return sha256_hex(text.data(), text.size()).substr(0, 32);
}

}  // namespace lacuna
