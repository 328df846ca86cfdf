// tokens.h5: a corpus as token ids. /tokens (uint16, or uint32 where the vocabulary needs it; 1-D, chunks of
// 1 Mi), /doc_offsets (int64 [documents + 1], first 0, last the number of tokens, strictly increasing),
// /tokenizer/<file name> (the tokenizer's bytes), and attributes. Holds everything that training must know
// about its text. Error(BadInput) on a file that breaks these rules.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/dtype.h"

namespace lacuna {

struct TokenFileMeta {
  std::int64_t vocab_size = 0;
  std::int32_t eos_id = -1;                            // -1: the tokenizer has none
  std::string tokenizer_sha256;                        // Tokenizer::sha256()
  std::string source;                                  // the text files, for people
  std::string source_sha256;                           // over the SHA-256 digests of the files
  std::map<std::string, std::string> tokenizer_files;  // by file name, bytes as they are
};

// Writes a new file under a temporary name; finish() makes it appear, whole and durable.
class TokenFileWriter {
 public:
  // Error(Storage) if `path` exists.
  TokenFileWriter(std::string path, TokenFileMeta meta);
  ~TokenFileWriter();  // without finish(): the temporary file is removed
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  // Appends to the current document. Error(BadInput) on an id outside the vocabulary.
  void add(const std::int32_t* ids, std::int64_t count);
  void end_document();  // a document without tokens leaves no trace
  void set_source_sha256(const std::string& digest);
  std::int64_t tokens() const;
  // Ends the last document. Error(BadInput) when there is no token at all.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class TokenFile {
 public:
  explicit TokenFile(const std::string& path);
  ~TokenFile();
  TokenFile(TokenFile&&) noexcept;
  TokenFile& operator=(TokenFile&&) noexcept;

  const std::string& path() const;
  const TokenFileMeta& meta() const;  // tokenizer_files included
  std::int64_t tokens() const;
  std::int64_t documents() const;
  DType dtype() const;
  const std::vector<std::int64_t>& doc_offsets() const;
  // Tokens first .. first + count - 1. Error(BadInput) on a range outside the file or an id outside the
  // vocabulary.
  void read(std::int64_t first, std::int64_t count, std::int32_t* ids) const;
  // Of what the file says about itself: two files with one fingerprint hold the same corpus.
  std::string fingerprint() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
