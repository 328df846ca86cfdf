// lacuna import: someone else's model -> a checkpoint.
#include "src/convert/import.h"

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "src/arch/parameters.h"
#include "src/base/json.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "a Hugging Face folder or llama2.c file -> a checkpoint";
constexpr const char* kExample = "lacuna import -m HF_FOLDER -o CHECKPOINT";

int run_import(const std::vector<std::string>& arguments) {
  ImportOptions request;
  bool json = false;
  Options options("import", kSummary, kExample);
  options.flag("model,m", request.model, "HF folder, exported folder or llama2.c .bin")
      .flag("tokenizer", request.tokenizer, "tokenizer file or folder, when the model brings none")
      .flag("out,o", request.out, "folder to make")
      .flag("force", request.force, "replace an earlier import")
      .flag("threads", request.threads, "CPU threads; 0 = as many as this process may run on")
      .flag("json", json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  options.require("out");
  options.finish();
  const ImportReport report = import_model(request);
  log_info("{}: {} with {} parameters -> {}", request.model, report.kind, parameter_count(report.config),
           report.checkpoint);
  if (!json) return 0;
  print_json(Json{{"checkpoint", report.checkpoint},
                  {"kind", report.kind},
                  {"parameters", parameter_count(report.config)},
                  {"content_hash", report.content_hash},
                  {"tokenizer", report.tokenizer_kind.empty() ? Json(nullptr) : Json(report.tokenizer_kind)}},
             "lacuna.import/1");
  return 0;
}

}  // namespace

extern const Verb import_verb;
const Verb import_verb = {"import", kSummary, kExample, run_import};

}  // namespace lacuna
