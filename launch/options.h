// The command line of one verb: flags of its own plus whole option structs. Precedence: flags over the
// environment (LACUNA_<SECTION>_<KEY>) over --config FILE.ini over defaults. No guessing of abbreviations; a
// repeated flag, an unknown key or a bad value is a problem; all problems are reported together in one
// Error(Usage).
//
//   Options options("eval", "perplexity of a model on a text", "lacuna eval -m MODEL --text FILE --seq-len
//   512"); options.flag("model,m", model, "HF folder, checkpoint or exported folder").fields(eval_options);
//   if (!options.parse(arguments)) return 0;
//   options.require("model");
//   options.finish();
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "src/base/fields.h"

namespace lacuna {

class Options {
 public:
  // `usage` is the example line shown by --help, e.g. "lacuna eval -m MODEL --text FILE --seq-len 512".
  Options(std::string verb, std::string summary, std::string usage);
  ~Options();

  // A flag that belongs to the command line alone. names: "model,m" (long, then an optional short one).
  // T is any field type. A std::vector<std::string> takes several tokens as they are ("--text A B"); whole
  // numbers may stand apart or be joined by commas ("--eos 1 2", "--eos 1,2").
  template <class T>
  Options& flag(const std::string& names, T& value, const std::string& help) {
    std::vector<std::string>* list = nullptr;
    if constexpr (std::is_same_v<T, std::vector<std::string>>) list = &value;
    return add_flag(names, field_of(names, value, help), list);
  }
  // A value without a flag: `lacuna inspect PATH`. Filled in order of declaration; a list takes the rest.
  template <class T>
  Options& positional(const std::string& name, T& value, const std::string& help) {
    std::vector<std::string>* list = nullptr;
    if constexpr (std::is_same_v<T, std::vector<std::string>>) list = &value;
    return add_positional(field_of(name, value, help), list);
  }
  // Every field of `options` as --section.key and --key, and from --config and the environment.
  template <class Struct>
  Options& fields(Struct& options) {
    for (FieldRef& field : fields_of(options)) add_field(std::move(field));
    return *this;
  }
  // The same for fields that are known only while the program runs (a recipe's).
  Options& field_refs(std::vector<FieldRef> refs) {
    for (FieldRef& field : refs) add_field(std::move(field));
    return *this;
  }
  // Parses argv after the verb. Returns false when --help was asked for and printed. Problems that the
  // caller finds itself (cross-field rules) can be added with problem() before finish().
  bool parse(const std::vector<std::string>& arguments);
  void require(const std::string& name);  // a problem if the flag, field or positional was not given
  void problem(const std::string& text);
  void finish();                              // throws Error(Usage) with all problems, if any
  bool given(const std::string& name) const;  // named on the command line, in the environment or the file
  std::string resolved_ini() const;           // every field, as config.resolved.ini keeps it
  std::string help() const;

 private:
  template <class T>
  static FieldRef field_of(const std::string& names, T& value, const std::string& help) {
    return FieldRef{names.substr(0, names.find(',')),
                    help,
                    detail::type_name(value),
                    [&value] { return to_text(value); },
                    [&value](const std::string& text) { from_text(text, value); },
                    std::is_same_v<T, bool>};
  }
  Options& add_flag(const std::string& names, FieldRef field, std::vector<std::string>* list);
  Options& add_positional(FieldRef field, std::vector<std::string>* list);
  void add_field(FieldRef field);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lacuna
