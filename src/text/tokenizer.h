// Text <-> token ids, for every kind of tokenizer that a LLaMA-like checkpoint comes with: tokenizer.json
// (SentencePiece-style and byte-level BPE), tokenizer.model (SentencePiece BPE, tiktoken), llama2.c's
// tokenizer.bin, GPT-2's vocab.json with merges.txt, *.tiktoken. Ids equal Hugging Face's on any text. All
// errors are Error(BadInput), one line. Immutable after loading: const members may be called by many threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/added_tokens.h"
#include "src/text/bpe.h"
#include "src/text/decoder.h"
#include "src/text/pipeline.h"

namespace lacuna {

// What the readers of the different files hand over.
struct TokenizerParts {
  BpeSpec model;
  std::vector<AddedToken> added;  // in the order of the file
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  DecoderSpec decoder;
  std::vector<std::int32_t> prefix, suffix;  // what special = true puts around the text
  std::optional<std::int32_t> bos;           // beginning of sequence
  std::vector<std::int32_t> eos;             // each of them ends generation
  std::string kind;                          // "byte-level BPE", "SentencePiece BPE", ...
};

// The files that a tokenizer was read from, bytes as they are; this is what checkpoints embed.
// Keys are plain file names: "tokenizer.json", "tokenizer_config.json", ...
using TokenizerFiles = std::map<std::string, std::string>;

class Tokenizer {
 public:
  Tokenizer(TokenizerParts parts, TokenizerFiles files);

  // Ids of a text. Invalid UTF-8: each maximal ill-formed part counts as U+FFFD. special: with the tokens
  // that the model's post-processor puts around a text (BOS as a rule). Added tokens that stand in the text
  // are found either way.
  std::vector<std::int32_t> encode(std::string_view text, bool special) const;
  // Text of ids, valid UTF-8; ids outside the vocabulary are left out, and special tokens unless asked for.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const;
  // The same for ids that arrive one by one; the tokenizer must outlive it. The caller leaves out what it
  // does not want to see (is_special).
  TextStream stream() const { return TextStream(parts_.decoder, texts_); }

  std::int64_t vocab_size() const { return static_cast<std::int64_t>(texts_.size()); }
  // The token as the vocabulary writes it, and the bytes of text that it stands for.
  const std::string& token(std::int32_t id) const;
  std::string token_bytes(std::int32_t id) const;
  std::int32_t id_of(const std::string& token) const;  // -1: none
  bool is_special(std::int32_t id) const;
  std::optional<std::int32_t> bos_id() const { return parts_.bos; }
  const std::vector<std::int32_t>& eos_ids() const { return parts_.eos; }
  bool is_eos(std::int32_t id) const;
  const std::string& kind() const { return parts_.kind; }
  const TokenizerFiles& files() const { return files_; }
  // SHA-256 of the tokenizer's own file, companions left out: the identity that token files carry.
  const std::string& sha256() const { return sha256_; }

 private:
  TokenizerParts parts_;
  TokenizerFiles files_;
  std::string sha256_;
  Bpe bpe_;
  TokenFinder raw_finder_, normalized_finder_;
  std::vector<std::string> names_;  // by id, added tokens included
  std::vector<TokenText> texts_;
  std::vector<bool> special_;
  std::map<std::string, std::int32_t> added_ids_;
};

// From a folder (Hugging Face, or one that holds a tokenizer file) or a file.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);
// From embedded bytes. `where` names their origin in errors.
std::unique_ptr<Tokenizer> tokenizer_from_files(const TokenizerFiles& files, const std::string& where);
// True if a folder holds, or a file is, something that load_tokenizer reads.
bool has_tokenizer(const std::string& path);
// The files of a tokenizer folder or file that load_tokenizer would read, without parsing them.
TokenizerFiles read_tokenizer_files(const std::string& path);

}  // namespace lacuna
