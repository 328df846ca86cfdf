// The command line of one verb: flags of its own plus whole option structs. Precedence: flags over
// LACUNA_<KEY> environment over --config FILE.ini over defaults. No guessing of abbreviations; a repeated
// flag, an unknown key or a bad value is a problem; all problems are reported together in one Error(Usage).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/fields.h"

namespace lacuna {

class Options {
 public:
  // `usage` is the example line shown by --help, e.g. "lacuna eval -m MODEL --text FILE --seq-len 512".
  Options(std::string verb, std::string summary, std::string usage);
  ~Options();

  // A flag that belongs to the command line alone. names: "model,m" (long, then an optional short one).
  // T is any field type, or std::vector<std::string> for flags that take several values ("--text A B").
  template <class T>
  Options& flag(const std::string& names, T& value, const std::string& help) {
    return add_flag(names, FieldRef{names, help, detail::type_name(value), [&value] { return to_text(value); },
                                    [&value](const std::string& text) { from_text(text, value); },
                                    std::is_same_v<T, bool>},
                    std::is_same_v<T, std::vector<std::string>> ? &value_list(value) : nullptr);
  }
  // Every field of `options` as --section.key and --key, and from --config and the environment.
  template <class Struct>
  Options& fields(Struct& options) {
    for (FieldRef& field : fields_of(options)) add_field(std::move(field));
    return *this;
  }
  // Parses argv after the verb. Returns false when --help was asked for and printed. Problems that the
  // caller finds itself (cross-field rules) can be added with problem() before finish().
  bool parse(const std::vector<std::string>& arguments);
  void problem(const std::string& text);
  void finish();                               // throws Error(Usage) with all problems, if any
  bool given(const std::string& name) const;   // named on the command line, in the environment or the file
  std::string resolved_ini() const;            // every field, as config.resolved.ini keeps it
  std::string help() const;

 private:
  Options& add_flag(const std::string& names, FieldRef field, std::vector<std::string>* list);
  void add_field(FieldRef field);
  static std::vector<std::string>& value_list(std::vector<std::string>& value) { return value; }
  template <class T>
  static std::vector<std::string>& value_list(T&);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
