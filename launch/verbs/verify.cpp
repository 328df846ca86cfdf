// lacuna verify: reads everything and compares every hash; exit 65 when anything is not as it should be.
#include "src/convert/verify.h"

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "src/base/error.h"
#include "src/base/json.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "checks hashes and structure of a checkpoint, run, model or tokenizer";
constexpr const char* kExample = "lacuna verify PATH";

int run_verify(const std::vector<std::string>& arguments) {
  std::string path;
  bool json = false;
  Options options("verify", kSummary, kExample);
  options.positional("path", path, "checkpoint, run, model folder or file, tokenizer")
      .flag("json", json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("path");
  options.finish();
  const VerifyReport report = verify(path);
  if (json)
    print_json(Json{{"kind", report.kind},
                    {"good", report.good()},
                    {"checks", report.checks},
                    {"problems", report.problems}},
               "lacuna.verify/1");
  else
    for (const std::string& line : report.checks) print_text("ok   " + line + "\n");
  if (!report.good() && !json)
    for (const std::string& line : report.problems) print_text("bad  " + line + "\n");
  LACUNA_CHECK(report.good(), ErrorKind::BadInput, "{}: {} of {} checks failed, the first: {}", path,
               report.problems.size(), report.problems.size() + report.checks.size(),
               report.problems.front());
  return 0;
}

}  // namespace

extern const Verb verify_verb;
const Verb verify_verb = {"verify", kSummary, kExample, run_verify};

}  // namespace lacuna
