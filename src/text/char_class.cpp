#include "src/text/char_class.h"

#include <algorithm>

namespace lacuna {

bool CharClass::listed(char32_t code) const {
  if (categories_ && (categories_ >> static_cast<int>(category_of(code)) & 1)) return true;
  if ((space_ || not_space_) && (is_white_space(code) ? space_ : not_space_)) return true;
  if ((word_ || not_word_) && (is_word(code) ? word_ : not_word_)) return true;
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const auto& range) { return code >= range.first && code <= range.second; });
}

void CharClass::fold_case() {
  const auto listed_ranges = ranges_;
  const auto shift = [&](char32_t first, char32_t last, char32_t low, char32_t high, int by) {
    first = std::max(first, low);
    last = std::min(last, high);
    if (first <= last)
      add_range(static_cast<char32_t>(static_cast<int>(first) + by),
                static_cast<char32_t>(static_cast<int>(last) + by));
  };
  for (const auto& [first, last] : listed_ranges) {
    shift(first, last, 'a', 'z', 'A' - 'a');
    shift(first, last, 'A', 'Z', 'a' - 'A');
  }
  const auto holds = [&](char32_t code) { return listed(code); };
  if (holds('s')) add_range(0x17f, 0x17f);    // long s
  if (holds('k')) add_range(0x212a, 0x212a);  // kelvin sign
}

void CharClass::finish(bool negated) {
  negated_ = negated;
  for (char32_t code = 0; code < 128; ++code)
    if (listed(code) != negated) ascii_[code >> 6] |= 1ull << (code & 63);
}

}  // namespace lacuna
