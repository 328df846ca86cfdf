#include "src/text/bpe.h"

#include <algorithm>
#include <limits>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/text/byte_level.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr std::size_t max_cached_word = 256, max_cached_words = 1 << 19;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

bool BpeCache::get(std::uint64_t hash, std::string_view word, std::vector<std::int32_t>& out) const {
  const Entry* entry = entries_.find(hash >> 1);
  if (!entry || entry->bytes != word.size() ||
      word != std::string_view(text_).substr(entry->text, entry->bytes))
    return false;
  const std::int32_t* ids = ids_.data() + entry->ids;
  out.insert(out.end(), ids, ids + entry->count);
  return true;
}

void BpeCache::put(std::uint64_t hash, std::string_view word, const std::int32_t* ids, std::size_t count) {
  if (word.size() > max_cached_word) return;
  if (entries_.size() >= max_cached_words) {
    entries_.clear();
    text_.clear();
    ids_.clear();
  }
  Entry& entry = entries_[hash >> 1];
  entry = {text_.size(), ids_.size(), static_cast<std::uint32_t>(word.size()),
           static_cast<std::uint32_t>(count)};
  text_ += word;
  ids_.insert(ids_.end(), ids, ids + count);
}

Bpe::Bpe(BpeSpec spec) : spec_(std::move(spec)) {
  byte_ids_.fill(-1);
  const auto& tokens = spec_.tokens;
  ids_.reserve(tokens.size());
  characters_.reserve(tokens.size() / 4);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (tokens[i].empty()) continue;
    LACUNA_CHECK(ids_.emplace(tokens[i], id).second, ErrorKind::BadInput, "the token '{}' stands twice",
                 printable(tokens[i]));
    if (utf8_length(tokens[i][0]) == tokens[i].size()) {
      std::size_t at = 0;
      characters_[next_code_point(tokens[i], at)] = id;
    }
    if (spec_.byte_level && spec_.ignore_merges)
      if (const auto raw = bytes_of_characters(tokens[i])) words_.emplace(*raw, id);
  }
  merges_.reserve(spec_.merges.size());
  for (const BpeMerge& merge : spec_.merges)
    merges_[pair_key(merge.left, merge.right)] = {merge.rank, merge.result};
  if (spec_.byte_level) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = ids_.find(byte_character(static_cast<std::uint8_t>(byte)));
      if (found != ids_.end()) byte_ids_[static_cast<std::size_t>(byte)] = found->second;
    }
  } else if (spec_.byte_fallback) {
    find_fallback_bytes();
  }
  if (!spec_.byte_level) find_neighbours();  // byte-level text comes in words
}

std::int32_t Bpe::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

int Bpe::fallback_byte(std::int32_t id) const {
  const auto found = fallback_.find(id);
  return found == fallback_.end() ? -1 : found->second;
}

void Bpe::find_fallback_bytes() {
  for (std::size_t i = 0; i < spec_.tokens.size(); ++i) {
    const std::string& token = spec_.tokens[i];
    if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>') continue;
    const int high = hex_digit(token[3]), low = hex_digit(token[4]);
    LACUNA_CHECK(high >= 0 && low >= 0, ErrorKind::BadInput, "the byte token '{}' does not name a byte",
                 printable(token));
    byte_ids_[static_cast<std::size_t>(high * 16 + low)] = static_cast<std::int32_t>(i);
    fallback_[static_cast<std::int32_t>(i)] = static_cast<std::uint8_t>(high * 16 + low);
  }
  LACUNA_CHECK(fallback_.empty() || fallback_.size() == 256, ErrorKind::BadInput,
               "byte fallback with {} of 256 byte tokens", fallback_.size());
  has_fallback_ = !fallback_.empty();
}

// The symbols that a token's text can begin (or end) with before any merge.
std::vector<std::int32_t> Bpe::edge_symbols(std::int32_t token, bool first) const {
  const std::string& text = spec_.tokens[static_cast<std::size_t>(token)];
  std::vector<std::int32_t> out;
  if (text.empty()) return out;
  if (token == spec_.unknown || fallback_.count(token)) out.push_back(token);
  const std::size_t begin = first ? 0 : previous_code_point(text, text.size());
  std::size_t at = begin;
  if (const std::int32_t* id = characters_.find(next_code_point(text, at))) out.push_back(*id);
  if (has_fallback_ && text.size() > 6) {
    const auto found = ids_.find(first ? text.substr(0, 6) : text.substr(text.size() - 6));
    if (found != ids_.end() && fallback_.count(found->second)) out.push_back(found->second);
  }
  return out;
}

// A merge joins the last symbol of its left part to the first symbol of its right part. Between two symbols
// that no merge joins so, text can be cut without changing the result: pieces stay short and repeat.
void Bpe::find_neighbours() {
  neighbours_.reserve(1024);
  for (const BpeMerge& merge : spec_.merges)
    for (const std::int32_t left : edge_symbols(merge.left, false))
      for (const std::int32_t right : edge_symbols(merge.right, true)) neighbours_[pair_key(left, right)] = 1;
}

void Bpe::encode(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const {
  LACUNA_CHECK(piece.size() < static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()),
               ErrorKind::BadInput, "a piece of text of {} bytes, at most 2 GiB are encoded at once",
               piece.size());
  if (spec_.byte_level) {
    encode_bytes(piece, cache, out);
  } else {
    encode_characters(piece, cache, out);
  }
}

void Bpe::encode_bytes(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const {
  const std::uint64_t hash = hash64(piece.data(), piece.size());
  if (cache.get(hash, piece, out)) return;
  const std::size_t before = out.size();
  const auto word = spec_.ignore_merges ? words_.find(std::string(piece)) : words_.end();
  if (word != words_.end()) {
    out.push_back(word->second);
  } else {
    std::vector<std::int32_t>& symbols = cache.start_;
    symbols.clear();
    bool unknown = false;
    for (const char c : piece) {
      const std::int32_t id = byte_ids_[static_cast<std::uint8_t>(c)];
      if (id >= 0) {
        symbols.push_back(id);
      } else if (spec_.unknown >= 0 && !(unknown && spec_.fuse_unknown)) {
        symbols.push_back(spec_.unknown);
      }
      unknown = id < 0;
    }
    merge(cache, out);
  }
  cache.put(hash, piece, out.data() + before, out.size() - before);
}

void Bpe::encode_characters(std::string_view piece, BpeCache& cache, std::vector<std::int32_t>& out) const {
  if (spec_.ignore_merges) {
    const auto word = ids_.find(std::string(piece));
    if (word != ids_.end()) {
      out.push_back(word->second);
      return;
    }
  }
  std::vector<std::int32_t>& symbols = cache.start_;
  symbols.clear();
  std::size_t begin = 0;  // of the text of `symbols`
  bool after_unknown = false;
  const auto add = [&](std::int32_t id, std::size_t at) {
    if (!symbols.empty() && !neighbours_.find(pair_key(symbols.back(), id))) {
      flush(piece.substr(begin, at - begin), cache, out);
      begin = at;
    }
    symbols.push_back(id);
  };
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t start = at;
    const char32_t code = next_code_point(piece, at);
    const std::int32_t* id = characters_.find(code);
    if (id) {
      add(*id, start);
    } else if (has_fallback_) {
      for (std::size_t i = start; i < at; ++i) add(byte_ids_[static_cast<std::uint8_t>(piece[i])], i);
    } else if (spec_.unknown >= 0 && !(after_unknown && spec_.fuse_unknown)) {
      add(spec_.unknown, start);
    }
    after_unknown = !id && !has_fallback_;
  }
  flush(piece.substr(begin), cache, out);
}

void Bpe::flush(std::string_view text, BpeCache& cache, std::vector<std::int32_t>& out) const {
  if (cache.start_.size() == 1) {
    out.push_back(cache.start_[0]);
  } else if (!cache.start_.empty()) {
    const std::uint64_t hash = hash64(text.data(), text.size());
    if (!cache.get(hash, text, out)) {
      const std::size_t before = out.size();
      merge(cache, out);
      cache.put(hash, text, out.data() + before, out.size() - before);
    }
  }
  cache.start_.clear();
}

void Bpe::merge(BpeCache& cache, std::vector<std::int32_t>& out) const {
  auto& symbols = cache.symbols_;
  auto& heap = cache.heap_;
  const auto count = static_cast<std::int32_t>(cache.start_.size());
  symbols.clear();
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i)
    symbols.push_back({cache.start_[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1, true});
  const auto symbol = [&](std::int32_t i) -> auto& {
    return symbols[static_cast<std::size_t>(i)];
  };
  const auto candidate = [&](std::int32_t place) -> bool {
    const Merge* found = merges_.find(pair_key(symbol(place).id, symbol(symbol(place).next).id));
    if (found)
      heap.push_back(
          {static_cast<std::uint64_t>(found->rank) << 32 | static_cast<std::uint32_t>(place), found->result});
    return found;
  };
  for (std::int32_t i = 0; i + 1 < count; ++i) candidate(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const auto top = heap.back();
    heap.pop_back();
    const auto place = static_cast<std::int32_t>(top.order & 0xffffffffu);
    auto& left = symbol(place);
    if (!left.alive || left.next < 0) continue;
    auto& right = symbol(left.next);
    const Merge* still = merges_.find(pair_key(left.id, right.id));
    if (!still || still->result != top.result) continue;  // the pair has changed since
    left.id = top.result;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = place;
    if (left.previous >= 0 && candidate(left.previous)) std::push_heap(heap.begin(), heap.end());
    if (left.next >= 0 && candidate(place)) std::push_heap(heap.begin(), heap.end());
  }
  for (std::int32_t i = 0; i >= 0 && i < count; i = symbol(i).next) out.push_back(symbol(i).id);
}

}  // namespace lacuna
