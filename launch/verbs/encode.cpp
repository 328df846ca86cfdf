// lacuna encode: standard input, all of it one string, as token ids.
#include <unistd.h>

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "launch/verbs/open_tokenizer.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "token ids of a text on standard input";
constexpr const char* kExample = "echo -n 'Once upon a time' | lacuna encode -m MODEL --json";
constexpr std::size_t kMaxInput = std::size_t{1} << 32;

std::string read_input() {
  std::string out;
  std::string block(1 << 16, '\0');
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, block.data(), block.size());
    LACUNA_CHECK(got >= 0, ErrorKind::Storage, "cannot read standard input");
    if (got == 0) return out;
    out.append(block, 0, static_cast<std::size_t>(got));
    LACUNA_CHECK(out.size() <= kMaxInput, ErrorKind::BadInput, "standard input has more than {} bytes",
                 kMaxInput);
  }
}

int run_encode(const std::vector<std::string>& arguments) {
  std::string model;
  bool special = false, json = false;
  Options options("encode", kSummary, kExample);
  options.flag("model,m", model, "model, checkpoint, token file, or a tokenizer's file or folder")
      .flag("special", special, "with the tokens that the model wants around a text, such as begin-of-text")
      .flag("json", json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  options.finish();
  const auto tokenizer = open_tokenizer(model);
  const std::vector<std::int32_t> ids = tokenizer->encode(read_input(), special);
  if (json) {
    Json out;
    out["ids"] = ids;
    print_json(out, "lacuna.encode/1");
    return 0;
  }
  std::string line;
  for (const std::int32_t id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  print_text(line + "\n");
  log_info("{} ids, {} with {} tokens", ids.size(), tokenizer->kind(), tokenizer->vocab_size());
  return 0;
}

}  // namespace

extern const Verb encode_verb;
const Verb encode_verb = {"encode", kSummary, kExample, run_encode};

}  // namespace lacuna
