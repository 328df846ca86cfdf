// A pattern's tree -> its program.
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/text/regex_tree.h"
#include "src/text/split_regex.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

using Op = RegexStep::Op;
constexpr std::size_t max_steps = 4096;

class Compiler {
 public:
  Compiler(std::vector<RegexStep>& steps, std::string_view pattern) : steps_(steps), pattern_(pattern) {}

  void emit(const RegexNode& node) {
    switch (node.kind) {
      case RegexNode::Kind::Set:
        step({.op = Op::Repeat, .set = node.set});
        break;
      case RegexNode::Kind::Sequence:
        for (const auto& child : node.children) emit(*child);
        break;
      case RegexNode::Kind::Choice:
        choice(node);
        break;
      case RegexNode::Kind::Repeat:
        repeat(node);
        break;
      case RegexNode::Kind::Look:
        nested(Op::Look, *node.children[0]);
        break;
      case RegexNode::Kind::LookNot:
        nested(Op::LookNot, *node.children[0]);
        break;
      case RegexNode::Kind::Atomic:
        nested(Op::Atomic, *node.children[0]);
        break;
    }
  }
  std::uint32_t step(RegexStep value) {
    LACUNA_CHECK(steps_.size() < max_steps, ErrorKind::BadInput, "unsupported split pattern '{}': too large",
                 printable(pattern_.substr(0, 200)));
    steps_.push_back(value);
    return here() - 1;
  }

 private:
  std::uint32_t here() const { return static_cast<std::uint32_t>(steps_.size()); }

  void choice(const RegexNode& node) {
    std::vector<std::uint32_t> jumps;
    for (std::size_t i = 0; i + 1 < node.children.size(); ++i) {
      const std::uint32_t branch = step({.op = Op::Branch, .first = here() + 1});
      emit(*node.children[i]);
      jumps.push_back(step({.op = Op::Jump}));
      steps_[branch].second = here();
    }
    emit(*node.children.back());
    for (const std::uint32_t jump : jumps) steps_[jump].first = here();
  }

  void nested(Op op, const RegexNode& body) {
    const std::uint32_t start = step({.op = op, .first = here() + 1});
    emit(body);
    step({.op = Op::Match});
    steps_[start].second = here();
  }

  void repeat(const RegexNode& node) {
    const RegexNode& body = *node.children[0];
    if (body.kind == RegexNode::Kind::Set && node.greed != RegexGreed::Lazy) {
      step({.op = Op::Repeat,
            .possessive = node.greed == RegexGreed::Possessive,
            .set = body.set,
            .min = node.min,
            .max = node.max});
      return;
    }
    if (node.greed == RegexGreed::Possessive) {
      const std::uint32_t start = step({.op = Op::Atomic, .first = here() + 1});
      expand(node, body);
      step({.op = Op::Match});
      steps_[start].second = here();
      return;
    }
    expand(node, body);
  }

  void expand(const RegexNode& node, const RegexNode& body) {
    for (std::uint32_t i = 0; i < node.min; ++i) emit(body);
    std::vector<std::uint32_t> exits;
    const auto optional = [&] {
      exits.push_back(step({.op = Op::Branch}));
      const std::uint32_t branch = exits.back();
      emit(body);
      return branch;
    };
    if (node.max == regex_unbounded) {
      const std::uint32_t loop = optional();
      step({.op = Op::Jump, .first = loop});
    } else {
      for (std::uint32_t i = node.min; i < node.max; ++i) optional();
    }
    for (const std::uint32_t branch : exits) {
      steps_[branch].first = node.greed == RegexGreed::Lazy ? here() : branch + 1;
      steps_[branch].second = node.greed == RegexGreed::Lazy ? branch + 1 : here();
    }
  }

  std::vector<RegexStep>& steps_;
  std::string_view pattern_;
};

}  // namespace

RegexProgram compile_regex(std::string_view pattern) {
  LACUNA_CHECK(is_utf8(pattern), ErrorKind::BadInput, "unsupported split pattern: not valid UTF-8");
  RegexProgram program;
  const RegexNodePtr tree = parse_regex(pattern, program.sets);
  Compiler compiler(program.steps, pattern);
  compiler.emit(*tree);
  compiler.step({.op = Op::Match});
  return program;
}

}  // namespace lacuna
