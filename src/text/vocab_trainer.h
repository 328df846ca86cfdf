// Training of a byte-level BPE vocabulary (Sennrich et al. 2016; Radford et al. 2019): the most frequent pair
// of neighbours becomes a token, again and again; of equally frequent pairs the one with the lowest ids. The
// result depends on the multiset of words alone and equals that of Hugging Face's BpeTrainer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/text/added_tokens.h"
#include "src/text/split_regex.h"
#include "src/text/tokenizer.h"

namespace lacuna {

inline constexpr std::string_view begin_of_text = "<|begin_of_text|>", end_of_text = "<|end_of_text|>";

struct VocabOptions {
  std::int64_t size = 4096;      // all tokens: two special ones, 256 bytes, merges
  std::string split = "llama3";  // llama3 | gpt2: how text is cut into words
  std::int64_t min_count = 2;    // a pair must occur as often to become a token
  template <class Visitor>
  void visit(Visitor&& field) {
    field("vocab.train-vocab", size, "size of a new vocabulary");
    field("vocab.split", split, "pattern that cuts text into words: llama3 or gpt2");
    field("vocab.min-count", min_count, "occurrences that make a pair a token");
  }
};

class VocabTrainer {
 public:
  // Error(Usage) on a size below 258 or an unknown split.
  explicit VocabTrainer(const VocabOptions& options);
  // Counts the words of a text. The two special tokens in it are separators, not text.
  void add(std::string_view text);
  // tokenizer.json and tokenizer_config.json. Error(BadInput) when no text was added. Fewer tokens than asked
  // for come out when no pair is left that occurs often enough.
  TokenizerFiles train() const;

 private:
  VocabOptions options_;
  SplitRegex split_;
  TokenFinder separators_;
  std::unordered_map<std::string, std::int64_t> words_;
};

}  // namespace lacuna
