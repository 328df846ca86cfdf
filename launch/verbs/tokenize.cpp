// lacuna tokenize: text files -> tokens.h5, or text files -> a new vocabulary.
#include <chrono>
#include <filesystem>

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/open_tokenizer.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/data/token_file.h"
#include "src/text/vocab_trainer.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "text files to tokens.h5; also trains a vocabulary";
constexpr const char* kExample = "lacuna tokenize -m TOKENIZER --text train.txt -o tokens.h5";

struct Request {
  std::string model, out, documents = "whole";
  std::vector<std::string> texts;
  VocabOptions vocab;
  bool special = false, force = false, json = false;
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Calls document(text) for the parts between blank lines (two line ends or more).
template <class Visit>
void for_each_document(std::string_view text, Visit&& document) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find("\n\n", at);
    if (end == std::string_view::npos) end = text.size();
    if (end > at) document(text.substr(at, end - at));
    at = text.find_first_not_of('\n', end);
    if (at == std::string_view::npos) break;
  }
}

// A whole text is one string, exactly as `eval` encodes it; a document ends behind an end-of-text token.
void add_whole(const Tokenizer& tokenizer, std::string_view text, bool special, TokenFileWriter& writer) {
  for (const std::int32_t id : tokenizer.encode(text, special)) {
    writer.add(&id, 1);
    if (tokenizer.is_eos(id)) writer.end_document();
  }
  writer.end_document();
}

// Every document is encoded by itself and ends with the end-of-text token.
void add_documents(const Tokenizer& tokenizer, std::string_view text, bool special, TokenFileWriter& writer) {
  for_each_document(text, [&](std::string_view document) {
    std::vector<std::int32_t> ids = tokenizer.encode(document, special);
    if (!tokenizer.eos_ids().empty() && (ids.empty() || !tokenizer.is_eos(ids.back())))
      ids.push_back(tokenizer.eos_ids()[0]);
    writer.add(ids.data(), static_cast<std::int64_t>(ids.size()));
    writer.end_document();
  });
}

int write_tokens(const Request& request) {
  const auto tokenizer = open_tokenizer(request.model);
  TokenFileMeta meta;
  meta.vocab_size = tokenizer->vocab_size();
  if (!tokenizer->eos_ids().empty()) meta.eos_id = tokenizer->eos_ids()[0];
  meta.tokenizer_sha256 = tokenizer->sha256();
  meta.tokenizer_files = tokenizer->files();
  for (const std::string& path : request.texts) meta.source += (meta.source.empty() ? "" : ", ") + path;
  if (request.force) std::filesystem::remove(request.out);
  TokenFileWriter writer(request.out, meta);
  const auto start = std::chrono::steady_clock::now();
  std::size_t bytes = 0;
  std::string digests;
  for (const std::string& path : request.texts) {
    const MappedFile file(path);
    const std::string_view text = text_of(file);
    bytes += text.size();
    digests += sha256_hex(text.data(), text.size());
    if (request.documents == "whole") {
      add_whole(*tokenizer, text, request.special, writer);
    } else {
      add_documents(*tokenizer, text, request.special, writer);
    }
  }
  writer.set_source_sha256(sha256_hex(digests.data(), digests.size()));
  const std::int64_t tokens = writer.tokens();
  writer.finish();
  const std::int64_t documents = TokenFile(request.out).documents();
  log_info("{}: {} tokens in {} documents from {} bytes ({:.2f} bytes a token, {:.1f} MB/s)", request.out,
           tokens, documents, bytes, static_cast<double>(bytes) / static_cast<double>(tokens),
           static_cast<double>(bytes) / 1e6 / std::max(seconds_since(start), 1e-9));
  if (request.json) {
    Json out;
    out["out"] = request.out;
    out["tokens"] = tokens;
    out["documents"] = documents;
    out["bytes"] = bytes;
    out["vocab_size"] = meta.vocab_size;
    out["tokenizer_sha256"] = meta.tokenizer_sha256;
    print_json(out, "lacuna.tokenize/1");
  }
  return 0;
}

int train_vocabulary(const Request& request) {
  const auto start = std::chrono::steady_clock::now();
  VocabTrainer trainer(request.vocab);
  std::size_t bytes = 0;
  for (const std::string& path : request.texts) {
    const MappedFile file(path);
    bytes += file.bytes().size();
    trainer.add(text_of(file));
  }
  const TokenizerFiles files = trainer.train();
  std::error_code failed;
  std::filesystem::create_directories(request.out, failed);
  LACUNA_CHECK(!failed, ErrorKind::Storage, "cannot make the folder {}: {}", request.out, failed.message());
  for (const auto& [name, content] : files) write_file_atomic(request.out + "/" + name, content);
  const auto tokenizer = load_tokenizer(request.out);  // what was written is what will be read
  log_info("{}: byte-level BPE with {} tokens from {} bytes in {:.1f} s", request.out,
           tokenizer->vocab_size(), bytes, seconds_since(start));
  if (tokenizer->vocab_size() < request.vocab.size)
    log_info("fewer than the {} asked for: no other pair of tokens occurs {} times", request.vocab.size,
             request.vocab.min_count);
  if (request.json) {
    Json out;
    out["out"] = request.out;
    out["vocab_size"] = tokenizer->vocab_size();
    out["bytes"] = bytes;
    out["tokenizer_sha256"] = tokenizer->sha256();
    print_json(out, "lacuna.tokenize.vocabulary/1");
  }
  return 0;
}

int run_tokenize(const std::vector<std::string>& arguments) {
  Request request;
  Options options("tokenize", kSummary, kExample);
  options.flag("model,m", request.model, "model, checkpoint, token file, or a tokenizer's file or folder")
      .flag("text", request.texts, "text files, UTF-8")
      .flag("out,o", request.out, "tokens.h5, or with --train-vocab the tokenizer's folder")
      .flag("documents", request.documents,
            "whole: a file is one string, as eval reads it | blank-lines: blank lines part documents, each "
            "ends with "
            "the end-of-text token")
      .flag("special", request.special, "with the tokens that the model wants around each document")
      .flag("force", request.force, "replace what is there")
      .flag("json", request.json, "print one JSON object")
      .fields(request.vocab);
  if (!options.parse(arguments)) return 0;
  const bool trains = options.given("vocab.train-vocab");
  options.require("text");
  options.require("out");
  if (trains && !request.model.empty())
    options.problem("-m and --train-vocab: a new vocabulary needs no model");
  if (!trains && request.model.empty())
    options.problem("-m MODEL is missing (or --train-vocab SIZE for a new vocabulary)");
  if (request.documents != "whole" && request.documents != "blank-lines")
    options.problem("--documents '" + request.documents + "': wanted whole or blank-lines");
  if (!request.out.empty() && !request.force && std::filesystem::exists(request.out))
    options.problem(request.out + " exists already: name another place, or --force");
  options.finish();
  return trains ? train_vocabulary(request) : write_tokens(request);
}

}  // namespace

extern const Verb tokenize_verb;
const Verb tokenize_verb = {"tokenize", kSummary, kExample, run_tokenize};

}  // namespace lacuna
