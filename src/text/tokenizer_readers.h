// One reader per file format; each turns bytes from a file that we did not write into TokenizerParts, or
// fails with Error(BadInput) that begins with `where`.
#pragma once

#include <string>
#include <string_view>

#include "src/text/tokenizer.h"

namespace lacuna {

inline constexpr std::size_t max_vocabulary = 2'000'000, max_merges = 2'000'000;

// Hugging Face's tokenizer.json with a BPE model.
TokenizerParts read_tokenizer_json(std::string_view bytes, const std::string& where);
// SentencePiece's tokenizer.model of type BPE.
TokenizerParts read_sentencepiece(std::string_view bytes, const std::string& where);
// llama2.c's tokenizer.bin.
TokenizerParts read_llama2c_tokenizer(std::string_view bytes, const std::string& where);
// Lines "base64 rank": Llama 3's tokenizer.model, or Qwen's *.tiktoken.
enum class TiktokenKind { Llama3, Qwen };
TokenizerParts read_tiktoken(std::string_view bytes, TiktokenKind kind, const std::string& where);
// GPT-2's vocab.json and merges.txt.
TokenizerParts read_gpt2(std::string_view vocab, std::string_view merges, const std::string& where);

// BOS, EOS and whether they are put around a text, from tokenizer_config.json, special_tokens_map.json and
// generation_config.json beside the tokenizer; where these say nothing, from the tokenizer itself.
void apply_companions(TokenizerParts& parts, const TokenizerFiles& files, const std::string& where);

// Merges that lead to every token whose text is two other tokens: SentencePiece and tiktoken store no merges
// but merge any neighbours whose union is a token. rank_of[id] orders them; tokens with no_merge_rank take no
// part.
inline constexpr std::uint32_t no_merge_rank = ~std::uint32_t{0};
std::vector<BpeMerge> merges_by_rank(const std::vector<std::string>& texts,
                                     const std::vector<std::uint32_t>& rank_of);

}  // namespace lacuna
