// Byte-pair encoding of one piece of text: characters (or bytes) become symbols, then the pair with the
// lowest rank merges, the leftmost first, until none is left (Sennrich et al. 2016). Equal, symbol for
// symbol, to Hugging Face's tokenizers, and O(n log n) in the length of the piece.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/text/flat_map.h"

namespace lacuna {

struct BpeMerge {
  std::int32_t left = 0, right = 0, result = 0;
  std::uint32_t rank = 0;  // several merges may share one: then the leftmost place goes first
};

struct BpeSpec {
  std::vector<std::string> tokens;  // by id, in the vocabulary's own spelling; "": the id is not the model's
  std::vector<BpeMerge> merges;     // of two entries for one pair the later counts
  std::int32_t unknown = -1;        // id for characters outside the vocabulary; -1: they are dropped
  bool fuse_unknown = false;        // one id for a run of unknown characters
  bool byte_fallback = false;       // unknown characters become <0xHH> tokens; all 256 or none are there
  bool ignore_merges = false;       // a piece that is a token needs no merging
  bool byte_level = false;          // symbols are bytes in the byte alphabet (byte_level.h)
};

// Words seen before and their ids, and room to merge in; one per call of encode, so that encoding is const
// and shares nothing.
class BpeCache {
 public:
  // Appends the ids of `word` and returns true if it is known.
  bool get(std::uint64_t hash, std::string_view word, std::vector<std::int32_t>& out) const;
  void put(std::uint64_t hash, std::string_view word, const std::int32_t* ids, std::size_t count);

 private:
  friend class Bpe;
  struct Symbol {
    std::int32_t id, previous, next;
    bool alive;
  };
  struct Candidate {
    std::uint64_t order;  // rank << 32 | place
    std::int32_t result;
    bool operator<(const Candidate& other) const { return order > other.order; }  // a heap's top is the least
  };
  struct Entry {
    std::uint64_t text = 0, ids = 0;  // where in the pools
    std::uint32_t bytes = 0, count = 0;
  };
  FlatMap<Entry> entries_;
  std::string text_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> start_;  // scratch: the symbols of a word before merging
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

class Bpe {
 public:
  explicit Bpe(BpeSpec spec);  // Error(BadInput) on byte tokens that are malformed or incomplete
  // Appends the ids of `piece`, valid UTF-8.
  void encode(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const;
  const std::vector<std::string>& tokens() const { return spec_.tokens; }
  std::int32_t id_of(const std::string& token) const;  // -1: none
  // The byte that an id stands for under byte fallback, or -1.
  int fallback_byte(std::int32_t id) const;
  const BpeSpec& spec() const { return spec_; }

 private:
  struct Merge {
    std::uint32_t rank = 0;
    std::int32_t result = -1;
  };
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  void find_fallback_bytes();
  void find_neighbours();
  std::vector<std::int32_t> edge_symbols(std::int32_t token, bool first) const;
  void encode_bytes(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const;
  void encode_characters(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const;
  // Merges cache.start_, the symbols of `text`, and empties it.
  void flush(std::string_view text, BpeCache& cache, std::vector<std::int32_t>& out) const;
  void merge(BpeCache& cache, std::vector<std::int32_t>& out) const;

  BpeSpec spec_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::string, std::int32_t> words_;  // byte level with ignore_merges: raw bytes -> id
  FlatMap<std::int32_t> characters_;                     // code point -> id
  FlatMap<Merge> merges_;
  FlatMap<char> neighbours_;                  // pairs of first symbols across which some merge can reach
  std::array<std::int32_t, 256> byte_ids_{};  // byte level: symbol of a byte; else its fallback token
  std::unordered_map<std::int32_t, std::uint8_t> fallback_;
  bool has_fallback_ = false;
};

}  // namespace lacuna
