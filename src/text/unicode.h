// Character properties and canonical composition, as Hugging Face's tokenizers see them (categories of
// Unicode 16, composition of Unicode 9: see make_unicode_tables.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lacuna {

// General categories in the order of the generated table.
enum class Category : std::uint8_t {
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co,
  Cn
};
inline constexpr int category_count = 30;

Category category_of(char32_t code);
// A set of categories by name, "L" or "Lu"; 0 when there is no such name. Bit i is Category(i).
std::uint32_t category_mask(std::string_view name);

bool is_white_space(char32_t code);  // property White_Space
bool is_word(char32_t code);         // \w: Alphabetic, marks, decimal digits, connectors, joiners
inline bool is_numeric(char32_t code) {
  const Category category = category_of(code);
  return category == Category::Nd || category == Category::Nl || category == Category::No;
}

// Normalization form C of valid UTF-8 (UAX 15: decompose, order by combining class, compose).
std::string compose_nfc(std::string_view text);

}  // namespace lacuna
