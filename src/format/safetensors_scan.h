// Reads the JSON of a safetensors header piece by piece, without building a document: memory stays in
// proportion to what is kept, and since the grammar is fixed nothing recurses on input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lacuna::detail {

class HeaderScanner {
 public:
  HeaderScanner(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  void expect(char wanted, const char* what);                     // skips space, then wants this character
  bool accept(char wanted);                                       // skips space, takes it if it is there
  std::string string(std::size_t max_bytes, const char* what);    // unescaped, valid UTF-8
  std::int64_t whole_number(std::int64_t max, const char* what);  // digits only: no sign, fraction, exponent
  void finish();                                                  // nothing but spaces may follow
  [[noreturn]] void refuse(const std::string& rule) const;        // with the offset

 private:
  void skip_space();
  void escape(std::string& out);
  std::uint32_t hex4();
  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

// True if `text` is well-formed UTF-8: no overlong form, surrogate or value above U+10FFFF.
bool valid_utf8(std::string_view text);

}  // namespace lacuna::detail
