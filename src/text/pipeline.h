// What happens to text before merging: normalization, then cutting into pieces. Both are lists of steps as a
// tokenizer.json writes them; a step is data, the functions here are its meaning.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/text/split_regex.h"

namespace lacuna {

// What a step looks for: a literal text or a pattern.
using TextPattern = std::variant<std::string, SplitRegex>;

// ---- normalization
struct PrependStep {
  std::string text;  // put before every text that is not empty
};
struct ReplaceStep {
  TextPattern pattern;
  std::string content;
};
struct NfcStep {};
using NormalizeStep = std::variant<PrependStep, ReplaceStep, NfcStep>;

class Normalizer {
 public:
  void add(NormalizeStep step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;

 private:
  std::vector<NormalizeStep> steps_;
};

// ---- cutting
enum class SplitBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

struct SplitStep {
  TextPattern pattern;
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false;  // what lies between the matches counts as match
};
struct DigitsStep {
  bool individual = false;
};
struct MetaspaceStep {
  enum class Prefix { Always, First, Never };
  std::string replacement = "\xe2\x96\x81";
  Prefix prefix = Prefix::Always;
  bool split = true;
};
struct PrefixSpaceStep {};  // the add_prefix_space of byte-level tokenizers
using CutStep = std::variant<SplitStep, DigitsStep, MetaspaceStep, PrefixSpaceStep>;

class PreTokenizer {
 public:
  void add(CutStep step) { steps_.push_back(std::move(step)); }
  // Calls piece(text) for every piece in order; `at_start`: the text begins where the input does.
  void cut(std::string_view text, bool at_start, const std::function<void(std::string_view)>& piece) const {
    cut_from(0, text, at_start, piece);
  }

 private:
  void cut_from(std::size_t step, std::string_view text, bool at_start,
                const std::function<void(std::string_view)>& piece) const;
  std::vector<CutStep> steps_;
};

// GPT-2's pattern, which byte-level tokenizers with use_regex mean.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace lacuna
