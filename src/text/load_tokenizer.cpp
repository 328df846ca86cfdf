#include <filesystem>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/text/tokenizer_readers.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_file = 100'000'000;
constexpr const char* companions[] = {"tokenizer_config.json", "special_tokens_map.json",
                                      "generation_config.json"};
constexpr const char* main_files[] = {"tokenizer.json", "tokenizer.model", "tokenizer.bin"};

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_tokenizer_name(const std::string& name) {
  return name == "vocab.json" || ends_with(name, ".model") || ends_with(name, ".tiktoken") ||
         ends_with(name, ".bin") || (ends_with(name, ".json") && name.find("tokenizer") != std::string::npos);
}

// tiktoken's text form: base64, a space, a rank, a line end.
bool looks_like_tiktoken(std::string_view bytes) {
  const std::size_t line = bytes.substr(0, 256).find('\n');
  if (line == std::string_view::npos) return false;
  const std::size_t space = bytes.substr(0, line).find(' ');
  return space != std::string_view::npos && space > 0 &&
         bytes.substr(0, space).find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == std::string_view::npos;
}

// The tokenizer's own file among the embedded ones.
std::string main_name(const TokenizerFiles& files, const std::string& where) {
  for (const char* name : main_files)
    if (files.count(name)) return name;
  for (const auto& [name, bytes] : files)
    if (is_tokenizer_name(name) && name != "tokenizer_config.json") return name;
  fail(ErrorKind::BadInput,
       "{}: no tokenizer (looked for tokenizer.json, tokenizer.model, tokenizer.bin, *.tiktoken, and "
       "vocab.json with merges.txt)",
       where);
}

TokenizerParts read_parts(const TokenizerFiles& files, const std::string& name, const std::string& where) {
  const std::string& bytes = files.at(name);
  if (name == "vocab.json") {
    const auto merges = files.find("merges.txt");
    LACUNA_CHECK(merges != files.end(), ErrorKind::BadInput, "{}: vocab.json without merges.txt", where);
    return read_gpt2(bytes, merges->second, where);
  }
  if (ends_with(name, ".json")) return read_tokenizer_json(bytes, where);
  if (ends_with(name, ".tiktoken")) return read_tiktoken(bytes, TiktokenKind::Qwen, where);
  if (ends_with(name, ".bin")) return read_llama2c_tokenizer(bytes, where);
  if (looks_like_tiktoken(bytes)) return read_tiktoken(bytes, TiktokenKind::Llama3, where);
  return read_sentencepiece(bytes, where);
}

void take(TokenizerFiles& files, const fs::path& folder, const char* name) {
  if (fs::is_regular_file(folder / name)) files[name] = read_file((folder / name).string(), max_file);
}

TokenizerFiles folder_files(const fs::path& folder) {
  TokenizerFiles out;
  for (const char* name : main_files) {
    if (out.empty()) take(out, folder, name);
  }
  if (out.empty()) {
    take(out, folder, "vocab.json");
    if (!out.empty()) take(out, folder, "merges.txt");
  }
  if (out.empty())
    for (const auto& entry : fs::directory_iterator(folder))
      if (out.empty() && entry.is_regular_file() && ends_with(entry.path().filename().string(), ".tiktoken"))
        take(out, folder, entry.path().filename().c_str());
  if (out.empty()) return out;
  for (const char* name : companions) take(out, folder, name);
  return out;
}

}  // namespace

TokenizerFiles read_tokenizer_files(const std::string& path) {
  LACUNA_CHECK(fs::exists(path), ErrorKind::BadInput, "{}: no such file or folder", printable(path));
  TokenizerFiles files;
  if (fs::is_directory(path)) {
    files = folder_files(path);
    main_name(files, printable(path));
    return files;
  }
  const fs::path file(path);
  const std::string name = file.filename().string();
  LACUNA_CHECK(is_tokenizer_name(name) || fs::is_regular_file(path), ErrorKind::BadInput,
               "{}: not a tokenizer file", printable(path));
  files[is_tokenizer_name(name) ? name : "tokenizer.json"] = read_file(path, max_file);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (name == "vocab.json") take(files, folder, "merges.txt");
  for (const char* other : companions)
    if (name == "tokenizer.json" || name == "tokenizer.model") take(files, folder, other);
  return files;
}

bool has_tokenizer(const std::string& path) {
  if (fs::is_directory(path)) return !folder_files(path).empty();
  return fs::is_regular_file(path) && is_tokenizer_name(fs::path(path).filename().string());
}

std::unique_ptr<Tokenizer> tokenizer_from_files(const TokenizerFiles& files, const std::string& where) {
  const std::string name = main_name(files, where);
  try {
    TokenizerParts parts = read_parts(files, name, where);
    apply_companions(parts, files, where);
    return std::make_unique<Tokenizer>(std::move(parts), files);
  } catch (Error& error) {
    if (std::string_view(error.what()).rfind(where, 0) != 0)
      error.add_context("reading the tokenizer " + where);
    throw;
  }
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  return tokenizer_from_files(read_tokenizer_files(path), printable(path));
}

}  // namespace lacuna
