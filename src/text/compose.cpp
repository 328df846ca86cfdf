// Canonical decomposition, ordering and composition (UAX 15), Hangul by arithmetic (Unicode 3.12).
#include <algorithm>
#include <vector>

#include "src/text/unicode.h"
#include "src/text/unicode_tables.h"
#include "src/text/utf8.h"

namespace lacuna {
namespace {

constexpr char32_t hangul_base = 0xac00, lead_base = 0x1100, vowel_base = 0x1161, tail_base = 0x11a7;
constexpr char32_t lead_count = 19, vowel_count = 21, tail_count = 28;
constexpr char32_t hangul_count = lead_count * vowel_count * tail_count;

struct Mark {
  char32_t code;
  std::uint8_t combining_class;
};

std::uint8_t combining_class(char32_t code) {
  if (code < 0x300) return 0;
  const std::uint32_t* end = combining_runs + combining_runs_count;
  const auto* after = std::upper_bound(combining_runs, end, static_cast<std::uint32_t>(code) << 8 | 255);
  return static_cast<std::uint8_t>(after[-1]);
}

char32_t code_of(std::uint64_t pair) {
  return pair >> 42 & 0x1fffff;
}
char32_t first_of(std::uint64_t pair) {
  return pair >> 21 & 0x1fffff;
}
char32_t second_of(std::uint64_t pair) {
  return pair & 0x1fffff;
}

void decompose(char32_t code, std::vector<Mark>& out) {
  if (code >= hangul_base && code < hangul_base + hangul_count) {
    const char32_t index = code - hangul_base;
    out.push_back({lead_base + index / (vowel_count * tail_count), 0});
    out.push_back({vowel_base + index / tail_count % vowel_count, 0});
    if (index % tail_count) out.push_back({tail_base + index % tail_count, 0});
    return;
  }
  if (code >= 0xc0) {
    const std::uint64_t* end = canonical_pairs + canonical_pairs_count;
    const auto* found = std::lower_bound(canonical_pairs, end, code, [](std::uint64_t pair, char32_t wanted) {
      return code_of(pair) < wanted;
    });
    if (found != end && code_of(*found) == code) {
      decompose(first_of(*found), out);  // at most three levels
      if (second_of(*found)) decompose(second_of(*found), out);
      return;
    }
  }
  out.push_back({code, combining_class(code)});
}

// The composites, sorted by (first, second).
const std::vector<std::uint64_t>& composites() {
  static const auto sorted = [] {
    std::vector<std::uint64_t> list;
    for (std::size_t i = 0; i < canonical_pairs_count; ++i)
      if (canonical_pairs[i] >> 63) list.push_back(canonical_pairs[i] << 22 >> 22);  // first, second
    std::sort(list.begin(), list.end());
    return list;
  }();
  return sorted;
}

// The code points that `composites()` stand for, in the same order.
const std::vector<char32_t>& composite_codes() {
  static const auto codes = [] {
    std::vector<char32_t> list(composites().size());
    for (std::size_t i = 0; i < canonical_pairs_count; ++i) {
      if (!(canonical_pairs[i] >> 63)) continue;
      const std::uint64_t key = canonical_pairs[i] << 22 >> 22;
      const auto at = std::lower_bound(composites().begin(), composites().end(), key) - composites().begin();
      list[static_cast<std::size_t>(at)] = code_of(canonical_pairs[i]);
    }
    return list;
  }();
  return codes;
}

// The character that `first` and `second` compose to, or 0.
char32_t composed(char32_t first, char32_t second) {
  if (first >= lead_base && first < lead_base + lead_count && second >= vowel_base &&
      second < vowel_base + vowel_count)
    return hangul_base + ((first - lead_base) * vowel_count + (second - vowel_base)) * tail_count;
  if (first >= hangul_base && first < hangul_base + hangul_count && (first - hangul_base) % tail_count == 0 &&
      second > tail_base && second < tail_base + tail_count)
    return first + (second - tail_base);
  const std::uint64_t key = static_cast<std::uint64_t>(first) << 21 | second;
  const auto found = std::lower_bound(composites().begin(), composites().end(), key);
  if (found == composites().end() || *found != key) return 0;
  return composite_codes()[static_cast<std::size_t>(found - composites().begin())];
}

// Orders and composes one stretch of decomposed text and appends it; the stretch is empty afterwards.
void compose_stretch(std::vector<Mark>& marks, std::string& out) {
  for (std::size_t i = 0; i < marks.size();) {  // stable order by class between starters
    std::size_t end = i;
    while (end < marks.size() && marks[end].combining_class) ++end;
    std::stable_sort(marks.begin() + static_cast<std::ptrdiff_t>(i),
                     marks.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    i = std::max(end, i + 1);
  }
  std::size_t starter = marks.size(), kept = 0;
  int last_class = -1;  // class of the last kept mark behind the starter; -1: none
  for (const Mark mark : marks) {
    if (starter < marks.size() && (last_class < mark.combining_class || last_class == -1)) {
      if (const char32_t both = composed(marks[starter].code, mark.code)) {
        marks[starter].code = both;
        continue;
      }
    }
    if (mark.combining_class == 0) {
      starter = kept;
      last_class = -1;
    } else {
      last_class = mark.combining_class;
    }
    marks[kept++] = mark;
  }
  for (std::size_t i = 0; i < kept; ++i) append_utf8(out, marks[i].code);
  marks.clear();
}

}  // namespace

std::string compose_nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> stretch;
  for (std::size_t at = 0; at < text.size();) {
    // A character below U+0300 that is followed by another one takes part in no reordering or composition.
    std::size_t next = at;
    const char32_t code = next_code_point(text, next);
    std::size_t probe = next;
    const bool plain = code < 0x300 && (next == text.size() || next_code_point(text, probe) < 0x300);
    if (!stretch.empty() && code < 0x300) compose_stretch(stretch, out);
    if (plain) {
      out += text.substr(at, next - at);
    } else {
      decompose(code, stretch);
    }
    at = next;
  }
  compose_stretch(stretch, out);
  return out;
}

}  // namespace lacuna
