// lacuna inspect: what is in a checkpoint, run, model folder, token file or tokenizer.
#include "src/convert/inspect.h"

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "prints what is in a checkpoint, run, model or tokenizer";
constexpr const char* kExample = "lacuna inspect PATH";

// One line a fact; objects one level deep as key=value.
std::string to_lines(const Json& facts) {
  std::string out;
  for (const auto& [key, value] : facts.items()) {
    std::string text;
    if (value.is_object()) {
      for (const auto& [name, inner] : value.items())
        text += (text.empty() ? "" : " ") + name + "=" +
                (inner.is_string() ? inner.get<std::string>() : inner.dump());
    } else {
      text = value.is_string() ? value.get<std::string>() : value.dump();
    }
    out += key + std::string(key.size() < 20 ? 20 - key.size() : 1, ' ') + text + "\n";
  }
  return out;
}

int run_inspect(const std::vector<std::string>& arguments) {
  std::string path;
  bool json = false;
  Options options("inspect", kSummary, kExample);
  options.positional("path", path, "checkpoint, run, model folder or file, token file, tokenizer")
      .flag("json", json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("path");
  options.finish();
  const Json facts = inspect(path);
  if (json)
    print_json(facts, "lacuna.inspect/1");
  else
    print_text(to_lines(facts));
  return 0;
}

}  // namespace

extern const Verb inspect_verb;
const Verb inspect_verb = {"inspect", kSummary, kExample, run_inspect};

}  // namespace lacuna
