// A split pattern between parsing and compiling.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "src/text/char_class.h"

namespace lacuna {

inline constexpr std::uint32_t regex_unbounded = std::numeric_limits<std::uint32_t>::max();

enum class RegexGreed : std::uint8_t { Greedy, Lazy, Possessive };

struct RegexNode {
  enum class Kind : std::uint8_t { Set, Sequence, Choice, Repeat, Look, LookNot, Atomic };
  Kind kind = Kind::Sequence;
  std::uint32_t set = 0;
  std::uint32_t min = 1, max = 1;  // Repeat
  RegexGreed greed = RegexGreed::Greedy;
  std::vector<std::unique_ptr<RegexNode>> children;

  bool may_be_empty() const {
    switch (kind) {
      case Kind::Set:
        return false;
      case Kind::Look:
      case Kind::LookNot:
        return true;
      case Kind::Repeat:
        return min == 0 || children[0]->may_be_empty();
      case Kind::Atomic:
        return children[0]->may_be_empty();
      case Kind::Sequence:
        for (const auto& child : children)
          if (!child->may_be_empty()) return false;
        return true;
      case Kind::Choice:
        for (const auto& child : children)
          if (child->may_be_empty()) return true;
        return false;
    }
    return true;
  }
  bool repeats_without_bound() const {
    if (kind == Kind::Repeat && max == regex_unbounded) return true;
    for (const auto& child : children)
      if (child->repeats_without_bound()) return true;
    return false;
  }
};
using RegexNodePtr = std::unique_ptr<RegexNode>;

// Parses a pattern; its classes are appended to `sets`. Error(BadInput) names the pattern and the byte.
RegexNodePtr parse_regex(std::string_view pattern, std::vector<CharClass>& sets);

}  // namespace lacuna
