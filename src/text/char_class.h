// A set of characters as a regular expression writes it: [^\s\p{L}'x-z], \p{N}, a literal.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "src/text/unicode.h"

namespace lacuna {

class CharClass {
 public:
  void add_range(char32_t first, char32_t last) { ranges_.emplace_back(first, last); }
  void add_categories(std::uint32_t mask, bool negated) {
    categories_ |= negated ? ~mask & ((1u << category_count) - 1) : mask;
  }
  void add_white_space(bool negated) { (negated ? not_space_ : space_) = true; }
  void add_word(bool negated) { (negated ? not_word_ : word_) = true; }
  // Adds the other case of every ASCII letter in the ranges, and the two letters outside ASCII that fold to
  // one.
  void fold_case();
  // Ends the description; contains() may be called from now on.
  void finish(bool negated);
  bool contains(char32_t code) const {
    if (code < 128) return ascii_[code >> 6] >> (code & 63) & 1;
    return listed(code) != negated_;
  }

 private:
  bool listed(char32_t code) const;
  std::uint64_t ascii_[2] = {0, 0};
  std::vector<std::pair<char32_t, char32_t>> ranges_;
  std::uint32_t categories_ = 0;
  bool space_ = false, not_space_ = false, word_ = false, not_word_ = false, negated_ = false;
};

}  // namespace lacuna
