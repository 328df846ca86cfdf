#include "src/text/pipeline.h"

#include "src/base/error.h"
#include "src/text/unicode.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

using Range = std::pair<std::size_t, std::size_t>;

// Calls match(begin, end) for the matches in `text`, left to right, none overlapping.
template <class Visit>
void for_each_match(const TextPattern& pattern, std::string_view text, Visit&& match) {
  if (const auto* regex = std::get_if<SplitRegex>(&pattern)) {
    std::uint64_t budget = SplitRegex::budget_for(text.size());
    std::size_t from = 0;
    while (const auto found = regex->find(text, from, budget)) {
      match(found->first, found->second);
      from = found->second;
    }
    return;
  }
  const std::string& literal = std::get<std::string>(pattern);
  for (std::size_t at = 0; (at = text.find(literal, at)) != std::string_view::npos; at += literal.size())
    match(at, at + literal.size());
}

std::string replaced(std::string_view text, const TextPattern& pattern, const std::string& content) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  std::size_t done = 0;
  for_each_match(pattern, text, [&](std::size_t begin, std::size_t end) {
    out += text.substr(done, begin - done);
    out += content;
    done = end;
  });
  out += text.substr(done);
  return out;
}

// Turns the alternation of matches and gaps into pieces by a behaviour. Parts arrive in order and tile the
// text.
class PieceMaker {
 public:
  PieceMaker(SplitBehavior behavior, std::function<void(Range)> emit)
      : behavior_(behavior), emit_(std::move(emit)) {}
  void part(std::size_t begin, std::size_t end, bool is_match) {
    switch (behavior_) {
      case SplitBehavior::Removed:
        if (!is_match) emit_({begin, end});
        return;
      case SplitBehavior::Isolated:
        emit_({begin, end});
        return;
      case SplitBehavior::MergedWithPrevious:
        join(begin, end, is_match && open_ && !open_match_, is_match);
        return;
      case SplitBehavior::MergedWithNext:
        join(begin, end, !is_match && open_ && open_match_, is_match);
        return;
      case SplitBehavior::Contiguous:
        join(begin, end, open_ && open_match_ == is_match, is_match);
        return;
    }
  }
  void finish() {
    if (open_) emit_(held_);
    open_ = false;
  }

 private:
  void join(std::size_t begin, std::size_t end, bool with_held, bool is_match) {
    if (with_held) {
      held_.second = end;
    } else {
      finish();
      held_ = {begin, end};
      open_ = true;
    }
    open_match_ = is_match;
  }
  SplitBehavior behavior_;
  std::function<void(Range)> emit_;
  Range held_{};
  bool open_ = false, open_match_ = false;
};

template <class Visit>
void split_by(const SplitStep& step, std::string_view text, Visit&& piece) {
  PieceMaker maker(step.behavior, [&](Range range) { piece(range.first, range.second); });
  std::size_t done = 0;
  for_each_match(step.pattern, text, [&](std::size_t begin, std::size_t end) {
    if (done < begin) maker.part(done, begin, step.invert);
    maker.part(begin, end, !step.invert);
    done = end;
  });
  if (done < text.size()) maker.part(done, text.size(), step.invert);
  maker.finish();
}

template <class Visit>
void split_digits(const DigitsStep& step, std::string_view text, Visit&& piece) {
  PieceMaker maker(step.individual ? SplitBehavior::Isolated : SplitBehavior::Contiguous,
                   [&](Range range) { piece(range.first, range.second); });
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (!is_numeric(next_code_point(text, at))) continue;
    if (begin < start) maker.part(begin, start, false);
    maker.part(start, at, true);
    begin = at;
  }
  if (begin < text.size()) maker.part(begin, text.size(), false);
  maker.finish();
}

}  // namespace

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const NormalizeStep& step : steps_) {
    std::visit(
        Overloaded{[&](const PrependStep& prepend) {
                     if (!out.empty()) out.insert(0, prepend.text);
                   },
                   [&](const ReplaceStep& replace) { out = replaced(out, replace.pattern, replace.content); },
                   [&](const NfcStep&) { out = compose_nfc(out); }},
        step);
  }
  return out;
}

void PreTokenizer::cut_from(std::size_t index, std::string_view text, bool at_start,
                            const std::function<void(std::string_view)>& piece) const {
  if (text.empty()) return;
  if (index == steps_.size()) return piece(text);
  const auto deeper = [&](std::string_view whole, bool starts) {
    return [&, whole, starts](std::size_t begin, std::size_t end) {
      cut_from(index + 1, whole.substr(begin, end - begin), starts && begin == 0, piece);
    };
  };
  std::visit(Overloaded{[&](const SplitStep& step) { split_by(step, text, deeper(text, at_start)); },
                        [&](const DigitsStep& step) { split_digits(step, text, deeper(text, at_start)); },
                        [&](const PrefixSpaceStep&) {
                          if (text[0] == ' ') return cut_from(index + 1, text, at_start, piece);
                          const std::string longer = " " + std::string(text);
                          cut_from(index + 1, longer, at_start, piece);
                        },
                        [&](const MetaspaceStep& step) {
                          std::string marked = replaced(text, std::string(" "), step.replacement);
                          const bool prefixed = step.prefix == MetaspaceStep::Prefix::Always ||
                                                (step.prefix == MetaspaceStep::Prefix::First && at_start);
                          if (prefixed && marked.compare(0, step.replacement.size(), step.replacement) != 0)
                            marked.insert(0, step.replacement);
                          if (!step.split) return cut_from(index + 1, marked, at_start, piece);
                          split_by(SplitStep{step.replacement, SplitBehavior::MergedWithNext, false}, marked,
                                   deeper(marked, at_start));
                        }},
             steps_[index]);
}

}  // namespace lacuna
