// Tokens that are found in text before any merging, such as <|begin_of_text|>: leftmost, then longest, with
// Hugging Face's rules for words and for white space at the sides.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/flat_map.h"

namespace lacuna {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = false;      // left out of decoded text by default
  bool normalized = false;   // looked for after normalization (in its own normalized form), not before
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false, rstrip = false;  // swallows white space to its left, right
  bool hidden = false;                  // never looked for in text
};

// Finds a set of added tokens in text.
class TokenFinder {
 public:
  // `content` is what is looked for; it must not be empty.
  void add(const std::string& content, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }
  // Calls text(part) and found(id) in order over `text`; parts are never empty.
  void split(std::string_view text, const std::function<void(std::string_view)>& part,
             const std::function<void(std::int32_t)>& found) const;

 private:
  struct Match {
    std::size_t begin = 0, end = 0, token = 0;
  };
  bool next_match(std::string_view text, std::size_t from, Match& match) const;

  std::vector<AddedToken> tokens_;
  FlatMap<std::uint32_t> children_;    // node << 8 | byte -> node
  std::vector<std::int64_t> at_node_;  // token that ends at a node, or -1
  bool starts_[256] = {};
};

}  // namespace lacuna
