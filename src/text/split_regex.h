// The regular expressions that tokenizers split text by: a small backtracking matcher for the part of
// Oniguruma's syntax that such patterns use. Alternation, classes with \p{..} \s \d \w, ranges, greedy, lazy
// and possessive quantifiers, (?:..) (?i:..) (?>..) (?=..) (?!..). Anything else, a pattern that can match
// the empty string, and unbounded repetition inside unbounded repetition are refused with Error(BadInput).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/text/char_class.h"

namespace lacuna {

// One instruction of a compiled pattern. A branch prefers `first`.
struct RegexStep {
  enum class Op : std::uint8_t { Repeat, Branch, Jump, Look, LookNot, Atomic, Match };
  Op op = Op::Match;
  bool possessive = false;  // Repeat: gives nothing back
  std::uint32_t set = 0;    // Repeat: class
  std::uint32_t min = 1, max = 1;
  std::uint32_t first = 0,
                second = 0;  // Branch: targets; Jump: first; Look*, Atomic: body, then what follows
};

struct RegexProgram {
  std::vector<RegexStep> steps;
  std::vector<CharClass> sets;
};

// Parses and compiles; Error(BadInput) names the pattern and the byte.
RegexProgram compile_regex(std::string_view pattern);

class SplitRegex {
 public:
  explicit SplitRegex(std::string_view pattern) : pattern_(pattern), program_(compile_regex(pattern)) {}
  // The next match in valid UTF-8 that starts at `from` or later, as (begin, end). `budget` counts matching
  // steps down over a whole text; Error(BadInput) when it is used up.
  std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text, std::size_t from,
                                                          std::uint64_t& budget) const;
  // Steps that an honest pattern never needs on a text of this length.
  static std::uint64_t budget_for(std::size_t bytes) {
    return 512 * (static_cast<std::uint64_t>(bytes) + 8192);
  }
  const std::string& pattern() const { return pattern_; }

 private:
  std::string pattern_;
  RegexProgram program_;
};

}  // namespace lacuna
