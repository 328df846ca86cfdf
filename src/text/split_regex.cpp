#include "src/text/split_regex.h"

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

using Op = RegexStep::Op;

class Matcher {
 public:
  Matcher(const RegexProgram& program, std::string_view text, std::uint64_t& budget,
          const std::string& pattern)
      : program_(program), text_(text), budget_(budget), pattern_(pattern) {}

  // Runs from step `pc` at `at`; on success the end of the match. Looks and atoms recurse, as deep as the
  // pattern nests.
  std::optional<std::size_t> run(std::uint32_t pc, std::size_t at) {
    const std::size_t base = saved_.size();
    for (;;) {
      spend(1);
      const RegexStep& step = program_.steps[pc];
      bool fits = true;
      switch (step.op) {
        case Op::Match:
          saved_.resize(base);
          return at;
        case Op::Jump:
          pc = step.first;
          break;
        case Op::Branch:
          saved_.push_back({step.second, at, at});
          pc = step.first;
          break;
        case Op::Repeat:
          fits = repeat(step, pc, at);
          break;
        case Op::Look:
        case Op::LookNot:
          fits = run(step.first, at).has_value() == (step.op == Op::Look);
          pc = step.second;
          break;
        case Op::Atomic: {
          const auto end = run(step.first, at);
          fits = end.has_value();
          if (fits) at = *end;
          pc = step.second;
          break;
        }
      }
      if (!fits && !back(base, pc, at)) return std::nullopt;
    }
  }

 private:
  // A place to go on when a later step fails: at `at`, or at any earlier character down to `low`.
  struct Saved {
    std::uint32_t pc;
    std::size_t at, low;
  };

  bool repeat(const RegexStep& step, std::uint32_t& pc, std::size_t& at) {
    const CharClass& set = program_.sets[step.set];
    std::size_t end = at, low = at;
    std::uint32_t count = 0;
    while (count < step.max && end < text_.size()) {
      std::size_t next = end;
      if (!set.contains(next_code_point(text_, next))) break;
      end = next;
      if (++count == step.min) low = end;
    }
    spend(count);
    if (count < step.min) return false;
    ++pc;
    if (!step.possessive && count > step.min) saved_.push_back({pc, previous_code_point(text_, end), low});
    at = end;
    return true;
  }

  bool back(std::size_t base, std::uint32_t& pc, std::size_t& at) {
    if (saved_.size() == base) return false;
    Saved& last = saved_.back();
    pc = last.pc;
    at = last.at;
    if (last.at > last.low) {
      last.at = previous_code_point(text_, last.at);
    } else {
      saved_.pop_back();
    }
    return true;
  }

  void spend(std::uint64_t steps) {
    LACUNA_CHECK(budget_ > steps, ErrorKind::BadInput,
                 "the pattern '{}' backtracks without end on this text: it is not run further",
                 printable(pattern_));
    budget_ -= steps;
  }

  const RegexProgram& program_;
  std::string_view text_;
  std::uint64_t& budget_;
  const std::string& pattern_;
  std::vector<Saved> saved_;
};

}  // namespace

std::optional<std::pair<std::size_t, std::size_t>> SplitRegex::find(std::string_view text, std::size_t from,
                                                                    std::uint64_t& budget) const {
  Matcher matcher(program_, text, budget, pattern_);
  while (from < text.size()) {
    if (const auto end = matcher.run(0, from)) return std::pair{from, *end};
    from += utf8_length(text[from]);
  }
  return std::nullopt;
}

}  // namespace lacuna
