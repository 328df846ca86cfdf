#include "src/text/unicode.h"

#include <algorithm>
#include <array>

#include "src/text/unicode_tables.h"

namespace lacuna {
namespace {

// The names in the order of Category, two letters each.
constexpr std::string_view names = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";

Category look_up(char32_t code) {
  const std::uint32_t* end = category_runs + category_runs_count;
  const std::uint32_t* after =
      std::upper_bound(category_runs, end, static_cast<std::uint32_t>(code) << 5 | 31);
  return static_cast<Category>(after[-1] & 31);
}

bool is_circled_letter(char32_t code) {  // Other_Alphabetic that is not a mark
  return (code >= 0x24b6 && code <= 0x24e9) || (code >= 0x1f130 && code <= 0x1f149) ||
         (code >= 0x1f150 && code <= 0x1f169) || (code >= 0x1f170 && code <= 0x1f189);
}

}  // namespace

Category category_of(char32_t code) {
  static const auto latin = [] {
    std::array<Category, 0x250> table;
    for (char32_t c = 0; c < table.size(); ++c) table[c] = look_up(c);
    return table;
  }();
  return code < latin.size() ? latin[code] : look_up(code);
}

std::uint32_t category_mask(std::string_view name) {
  if (name.empty() || name.size() > 2) return 0;
  std::uint32_t mask = 0;
  for (int i = 0; i < category_count; ++i)
    if (names.substr(static_cast<std::size_t>(2 * i), name.size()) == name) mask |= 1u << i;
  return mask;
}

bool is_white_space(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
  return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
         code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool is_word(char32_t code) {
  static const std::uint32_t mask = category_mask("L") | category_mask("M") | category_mask("Nd") |
                                    category_mask("Nl") | category_mask("Pc");
  return (mask >> static_cast<int>(category_of(code)) & 1) || code == 0x200c || code == 0x200d ||
         is_circled_letter(code);
}

}  // namespace lacuna
