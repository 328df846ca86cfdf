#include "src/convert/tokenizer_check.h"

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/text/tokenizer.h"

namespace lacuna {

std::map<std::string, std::string> tokenizer_bytes(const std::string& path) {
  return read_tokenizer_files(path);
}

std::string describe_tokenizer_line(const std::string& path) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(path);
  return fmt::format("{}, {} tokens", tokenizer->kind(), tokenizer->vocab_size());
}

std::string check_tokenizer(const std::map<std::string, std::string>& files, const ModelConfig& config,
                            const std::string& where) {
  if (files.empty()) return "";
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_from_files(files, where);
  LACUNA_CHECK(tokenizer->vocab_size() <= config.vocab, ErrorKind::BadInput,
               "{}: the tokenizer has {} tokens, the embedding only {} rows", where, tokenizer->vocab_size(),
               config.vocab);
  return tokenizer->kind();
}

Json describe_tokenizer(const std::map<std::string, std::string>& files, const std::string& where) {
  if (files.empty()) return nullptr;
  const std::unique_ptr<Tokenizer> tokenizer = tokenizer_from_files(files, where);
  Json out = {
      {"kind", tokenizer->kind()}, {"vocab", tokenizer->vocab_size()}, {"sha256", tokenizer->sha256()}};
  out["files"] = Json::array();
  for (const auto& [name, bytes] : files) out["files"].push_back(name);
  return out;
}

}  // namespace lacuna
