// lacuna stories: a deterministic text to train small models on.
#include "src/text/stories.h"

#include <filesystem>

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/log.h"
#include "src/text/vocab_trainer.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "writes made-up stories, the same for the same seed";
constexpr const char* kExample = "lacuna stories --bytes 2000000 --seed 1 -o stories.txt";
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 34;

int run_stories(const std::vector<std::string>& arguments) {
  std::uint64_t bytes = 2'000'000, seed = 1;
  std::string path, separator = "blank";
  bool force = false, json = false;
  Options options("stories", kSummary, kExample);
  options.flag("bytes", bytes, "at least as many bytes, whole stories")
      .flag("seed", seed, "another seed, other stories: one for training, one for evaluation")
      .flag("separator", separator, "between stories: blank (a blank line) | end-of-text (that token's text)")
      .flag("out,o", path, "file to write; without it, standard output")
      .flag("force", force, "replace an existing file")
      .flag("json", json, "print one JSON object (needs -o)");
  if (!options.parse(arguments)) return 0;
  if (bytes == 0 || bytes > kMaxBytes)
    options.problem(fmt::format("--bytes {}: wanted 1 to {}", bytes, kMaxBytes));
  if (separator != "blank" && separator != "end-of-text")
    options.problem("--separator '" + separator + "': wanted blank or end-of-text");
  if (json && path.empty()) options.problem("--json needs -o FILE: standard output takes one of the two");
  if (!path.empty() && !force && std::filesystem::exists(path))
    options.problem(path + " exists already: name another file, or --force");
  options.finish();
  const std::string text =
      stories(seed, bytes, separator == "blank" ? "\n\n" : "\n" + std::string(end_of_text) + "\n");
  if (path.empty()) {
    print_text(text);
    return 0;
  }
  write_file_atomic(path, text);
  log_info("{}: {} bytes", path, text.size());
  if (json) {
    Json out;
    out["out"] = path;
    out["bytes"] = text.size();
    out["seed"] = seed;
    print_json(out, "lacuna.stories/1");
  }
  return 0;
}

}  // namespace

extern const Verb stories_verb;
const Verb stories_verb = {"stories", kSummary, kExample, run_stories};

}  // namespace lacuna
