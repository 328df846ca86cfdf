#include <algorithm>
#include <string>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/text/regex_tree.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr std::size_t max_pattern = 8192;
constexpr int max_nesting = 32;

RegexNodePtr make(RegexNode::Kind kind) {
  auto node = std::make_unique<RegexNode>();
  node->kind = kind;
  return node;
}

class Parser {
 public:
  Parser(std::string_view pattern, std::vector<CharClass>& sets) : pattern_(pattern), sets_(sets) {
    if (pattern.size() > max_pattern) refuse("longer than {} bytes", max_pattern);
  }

  RegexNodePtr parse() {
    RegexNodePtr root = choice();
    if (!done()) refuse("')' without '('");
    if (root->may_be_empty()) refuse("it can match the empty string");
    return root;
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::BadInput, "unsupported split pattern '{}': {} (byte {})",
         printable(pattern_.substr(0, 200)), fmt::format(format, std::forward<Args>(args)...), at_);
  }
  bool done() const { return at_ == pattern_.size(); }
  char peek() const { return done() ? '\0' : pattern_[at_]; }
  bool eat(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  char32_t next() {
    if (done()) refuse("it ends too early");
    return next_code_point(pattern_, at_);
  }

  RegexNodePtr choice() {
    if (++nesting_ > max_nesting) refuse("nested deeper than {} groups", max_nesting);
    RegexNodePtr out = make(RegexNode::Kind::Choice);
    const bool fold = fold_case_;
    do out->children.push_back(sequence());
    while (eat("|"));
    fold_case_ = fold;
    --nesting_;
    return out->children.size() == 1 ? std::move(out->children[0]) : std::move(out);
  }

  RegexNodePtr sequence() {
    RegexNodePtr out = make(RegexNode::Kind::Sequence);
    while (!done() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      if (eat("(?i)")) {
        fold_case_ = true;
        continue;
      }
      RegexNodePtr item = atom();
      while (!done() && std::string_view("?*+{").find(pattern_[at_]) != std::string_view::npos)
        item = quantified(std::move(item));
      out->children.push_back(std::move(item));
    }
    return out;
  }

  RegexNodePtr atom() {
    if (eat("(")) return group();
    if (eat("[")) return set_node(bracket());
    CharClass set;
    if (eat(".")) {
      set.add_range('\n', '\n');
      set.finish(true);
      return set_node(std::move(set));
    }
    const char head = pattern_[at_];
    if (head == '^' || head == '$') refuse("'{}' is not supported", head);
    if (head == '\\') {
      escape(set);
    } else {
      literal(next(), set);
    }
    if (fold_case_) set.fold_case();
    set.finish(false);
    return set_node(std::move(set));
  }

  RegexNodePtr group() {
    RegexNodePtr out;
    const bool fold = fold_case_;
    if (eat("?-i:")) {
      fold_case_ = false;
    } else if (eat("?:")) {
      // groups only
    } else if (eat("?i:")) {
      fold_case_ = true;
    } else if (eat("?>")) {
      out = make(RegexNode::Kind::Atomic);
    } else if (eat("?=")) {
      out = make(RegexNode::Kind::Look);
    } else if (eat("?!")) {
      out = make(RegexNode::Kind::LookNot);
    } else if (eat("?")) {
      refuse("this kind of group is not supported");
    }
    RegexNodePtr body = choice();
    fold_case_ = fold;
    if (!eat(")")) refuse("')' is missing");
    if (!out) return body;
    out->children.push_back(std::move(body));
    return out;
  }

  RegexNodePtr quantified(RegexNodePtr item) {
    RegexNodePtr out = make(RegexNode::Kind::Repeat);
    if (item->kind == RegexNode::Kind::Look || item->kind == RegexNode::Kind::LookNot)
      refuse("a repeated look-ahead");
    bool interval = false;
    if (eat("?")) {
      out->min = 0;
    } else if (eat("*")) {
      out->min = 0;
      out->max = regex_unbounded;
    } else if (eat("+")) {
      out->max = regex_unbounded;
    } else {
      ++at_;
      interval = true;
      out->min = peek() == ',' ? 0 : number();
      out->max = !eat(",") ? out->min : peek() == '}' ? regex_unbounded : number();
      if (!eat("}") || out->max < out->min || out->max == 0) refuse("a malformed {{n,m}}");
    }
    if (eat("?")) {
      if (interval && out->min == out->max) refuse("a lazy exact count");
      out->greed = RegexGreed::Lazy;
    } else if (!interval && eat("+")) {
      out->greed = RegexGreed::Possessive;
    }
    if (out->max == regex_unbounded && item->repeats_without_bound())
      refuse("unbounded repetition inside unbounded repetition");
    if (out->max > 1 && item->may_be_empty()) refuse("repetition of what can match the empty string");
    out->children.push_back(std::move(item));
    return out;
  }

  std::uint32_t number() {
    std::uint32_t value = 0;
    const std::size_t start = at_;
    while (!done() && pattern_[at_] >= '0' && pattern_[at_] <= '9' && value < 10000)
      value = value * 10 + static_cast<std::uint32_t>(pattern_[at_++] - '0');
    if (at_ == start || value > 1000) refuse("a malformed {{n,m}}");
    return value;
  }

  CharClass bracket() {
    CharClass set;
    const bool negated = eat("^");
    bool first = true;
    while (first || !eat("]")) {
      if (done()) refuse("']' is missing");
      if (pattern_[at_] == '[' || eat("&&")) refuse("classes inside classes are not supported");
      first = false;
      char32_t low = 0;
      if (peek() == '\\') {
        if (!escape(set, &low)) continue;
      } else {
        low = next();
      }
      char32_t high = low;
      if (pattern_.size() - at_ >= 2 && pattern_[at_] == '-' && pattern_[at_ + 1] != ']') {
        ++at_;
        if (peek() != '\\') {
          high = next();
        } else if (CharClass unused; !escape(unused, &high)) {
          refuse("a range that ends in a class");
        }
        if (high < low) refuse("a range that runs backwards");
      }
      literal(low, set, high);
    }
    if (fold_case_) set.fold_case();
    set.finish(negated);
    return set;
  }

  void literal(char32_t low, CharClass& set, char32_t high = 0) {
    high = std::max(low, high);
    if (fold_case_ && high >= 128) refuse("case folding beyond ASCII is not supported");
    set.add_range(low, high);
  }

  // Reads an escape. A single character goes to *single when given (and true is returned), else into the set.
  bool escape(CharClass& set, char32_t* single = nullptr) {
    ++at_;
    const char32_t code = next();
    char32_t value = code;
    switch (code) {
      case 's':
      case 'S':
        set.add_white_space(code == 'S');
        return false;
      case 'd':
      case 'D':
        set.add_categories(category_mask("Nd"), code == 'D');
        return false;
      case 'w':
      case 'W':
        set.add_word(code == 'W');
        return false;
      case 'p':
      case 'P':
        property(set, code == 'P');
        return false;
      case 'r':
        value = '\r';
        break;
      case 'n':
        value = '\n';
        break;
      case 't':
        value = '\t';
        break;
      case 'f':
        value = '\f';
        break;
      case 'v':
        value = '\v';
        break;
      case 'x':
        value = eat("{") ? hex(1, 6, true) : hex(2, 2, false);
        break;
      case 'u':
        value = hex(4, 4, false);
        break;
      default:
        if (code >= 128 || is_word(code)) refuse("the escape \\{} is not supported", static_cast<char>(code));
    }
    if (single) {
      *single = value;
    } else {
      literal(value, set);
    }
    return true;
  }

  char32_t hex(int min, int max, bool braced) {
    char32_t value = 0;
    int digits = 0;
    for (; digits < max && !done(); ++digits) {
      const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(peek() | 32));
      if (digit == std::string_view::npos) break;
      value = value * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    if (digits < min || value > 0x10ffff || (braced && !eat("}"))) refuse("a malformed code point");
    return value;
  }

  void property(CharClass& set, bool negated) {
    if (!eat("{")) refuse("a property without braces");
    if (eat("^")) negated = !negated;
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) refuse("'}}' is missing");
    const std::uint32_t mask = category_mask(pattern_.substr(at_, end - at_));
    if (!mask) refuse("the property '{}' is not supported", printable(pattern_.substr(at_, end - at_)));
    set.add_categories(mask, negated);
    at_ = end + 1;
  }

  RegexNodePtr set_node(CharClass set) {
    RegexNodePtr out = make(RegexNode::Kind::Set);
    out->set = static_cast<std::uint32_t>(sets_.size());
    sets_.push_back(std::move(set));
    return out;
  }

  std::string_view pattern_;
  std::vector<CharClass>& sets_;
  std::size_t at_ = 0;
  int nesting_ = 0;
  bool fold_case_ = false;
};

}  // namespace

RegexNodePtr parse_regex(std::string_view pattern, std::vector<CharClass>& sets) {
  return Parser(pattern, sets).parse();
}

}  // namespace lacuna
