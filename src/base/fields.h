// Visitors over option structs. A struct names its fields once, in visit(); reading an INI file, flags, the
// environment, printing, JSON and help are all visitors over that list. A field is "section.key" with
// dashes; on the command line `--section.key V`, and `--key V` too because keys are unique over sections.
//
//   struct OptimOptions {
//     double lr = 3e-4;
//     template <class Visitor> void visit(Visitor&& field) { field("optim.lr", lr, "peak learning rate"); }
//   };
//
// Field types: bool, int, std::int64_t, std::uint64_t, double, std::string, std::vector<std::string>,
// std::vector<std::int64_t>. to_text and from_text are exact inverses (NaN is refused). In lists a backslash
// protects a comma or a backslash, and "\e" is the list of one empty text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/base/error.h"

namespace lacuna {

std::string to_text(bool value);
std::string to_text(int value);
std::string to_text(std::int64_t value);
std::string to_text(std::uint64_t value);
std::string to_text(double value);  // shortest text that reads back to the same value
std::string to_text(const std::string& value);
std::string to_text(const std::vector<std::string>& value);   // comma separated
std::string to_text(const std::vector<std::int64_t>& value);

// Throws Error(Usage) "'abc' is not a whole number" and the like; the caller adds the field's name.
void from_text(const std::string& text, bool& value);
void from_text(const std::string& text, int& value);
void from_text(const std::string& text, std::int64_t& value);
void from_text(const std::string& text, std::uint64_t& value);
void from_text(const std::string& text, double& value);
void from_text(const std::string& text, std::string& value);
void from_text(const std::string& text, std::vector<std::string>& value);
void from_text(const std::string& text, std::vector<std::int64_t>& value);

// A field seen from outside its struct.
struct FieldRef {
  std::string name;   // "optim.lr"
  std::string help;
  std::string type;   // "number", "text", "yes/no", "list"
  std::function<std::string()> get;
  std::function<void(const std::string&)> set;  // throws Error(Usage)
  bool is_bool = false;
};

namespace detail {
inline const char* type_name(const bool&) { return "yes/no"; }
inline const char* type_name(const int&) { return "whole number"; }
inline const char* type_name(const std::int64_t&) { return "whole number"; }
inline const char* type_name(const std::uint64_t&) { return "whole number"; }
inline const char* type_name(const double&) { return "number"; }
inline const char* type_name(const std::string&) { return "text"; }
template <class T>
const char* type_name(const T&) {  // an enumeration with to_text and from_text of its own
  return "name";
}
template <class T>
const char* type_name(const std::vector<T>&) { return "list"; }
}  // namespace detail

// References into `options`, which must outlive the result.
template <class Options>
std::vector<FieldRef> fields_of(Options& options) {
  std::vector<FieldRef> out;
  options.visit([&](const char* name, auto& value, const char* help) {
    out.push_back({name, help, detail::type_name(value), [&value] { return to_text(value); },
                   [&value](const std::string& text) { from_text(text, value); },
                   std::is_same_v<std::decay_t<decltype(value)>, bool>});
  });
  return out;
}

// INI text of the fields, grouped by section, with the help as comments when asked. Values are quoted where
// they hold a space at an end, '#', ';', a quote, a newline, or are empty; read_ini undoes it exactly.
std::string to_ini(const std::vector<FieldRef>& fields, bool with_help);

// One "key = value" of an INI text with its line number.
struct IniEntry {
  std::string name;  // "section.key"
  std::string value;
  int line = 0;
};
// Throws Error(Usage) with `where` and the line on anything that is not a section, an entry or a comment.
std::vector<IniEntry> read_ini(const std::string& text, const std::string& where);

}  // namespace lacuna
