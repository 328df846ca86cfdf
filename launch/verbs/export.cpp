// lacuna export: a checkpoint -> a model folder that the engine has proved.
#include "src/convert/export.h"

#include "launch/options.h"
#include "launch/output.h"
#include "launch/verb.h"
#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/log.h"

namespace lacuna {

namespace {

constexpr const char* kSummary = "a checkpoint -> a model folder, proved against the trainer's own logits";
constexpr const char* kExample = "lacuna export -m RUN -o MODEL";

Json to_json(const ExportReport& report) {
  const SelfCheck& check = report.check;
  Json out = {
      {"model", report.folder}, {"checkpoint", report.checkpoint}, {"content_hash", report.content_hash}};
  out["parameters"] = parameter_count(report.config);
  out["activation"] = name_of(report.config.activation);
  out["bundled"] = report.bundled;
  out["check"] = {{"sequences", check.sequences}, {"tokens", check.tokens},
                  {"max_abs", check.worst_abs},   {"max_abs_bound", check.abs_bound},
                  {"rms", check.worst_rms},       {"rms_bound", check.rms_bound}};
  out["ffn_sparsity"] = check.sparsity.ffn_sparsity;
  out["ffn_sparsity_per_layer"] = check.sparsity.per_layer;
  return out;
}

int run_export(const std::vector<std::string>& arguments) {
  ExportOptions request;
  std::string dtype;
  bool json = false;
  Options options("export", kSummary, kExample);
  options.flag("model,m", request.model, "checkpoint, or run: its newest step that verifies")
      .flag("out,o", request.out, "folder to make")
      .flag("dtype", dtype, "bf16 | fp32: type of all weights; bf16 after training in bf16, else as stored, when not given")
      .flag("force", request.force, "replace an earlier export")
      .flag("threads", request.threads, "CPU threads of the check; 0 = as many as this process may run on")
      .flag("json", json, "print one JSON object");
  if (!options.parse(arguments)) return 0;
  options.require("model");
  options.require("out");
  if (!dtype.empty() && dtype != "bf16" && dtype != "fp32")
    options.problem("--dtype '" + dtype + "' is unknown (bf16, fp32)");
  options.finish();
  if (!dtype.empty()) request.dtype = parse_dtype(dtype);
  request.command = "lacuna export -m " + request.model + " -o " + request.out;
  if (!dtype.empty()) request.command += " --dtype " + dtype;
  const ExportReport report = export_model(request);
  const SelfCheck& check = report.check;
  log_info("{}: OK, logits of {} sequences differ from the checkpoint's by at most {:.2g} (bound {:.2g})",
           report.folder, check.sequences, check.worst_abs, check.abs_bound);
  if (report.config.activation != Activation::Silu || report.config.is_routed())
    log_info("exact FFN zeros on these {} tokens: {:.2f} %", check.tokens, 100 * check.sparsity.ffn_sparsity);
  if (json) print_json(to_json(report), "lacuna.export/1");
  return 0;
}

}  // namespace

extern const Verb export_verb;
const Verb export_verb = {"export", kSummary, kExample, run_export};

}  // namespace lacuna
