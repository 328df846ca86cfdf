#include "src/convert/export.h"

#include <filesystem>
#include <set>

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/log.h"
#include "src/checkpoint/checkpoint.h"
#include "src/convert/model_card.h"
#include "src/convert/output_folder.h"
#include "src/format/model_writer.h"

namespace lacuna {

namespace {

bool is_exported(const std::string& folder) {
  return std::filesystem::exists(folder + "/config.json") && std::filesystem::exists(folder + "/SHA256SUMS");
}

// Higher is more precise; F16 and BF16 have 11 and 8 bits.
int precision(DType dtype) {
  return dtype == DType::F64 ? 53 : dtype == DType::F32 ? 24 : dtype == DType::F16 ? 11 : 8;
}

// The coarsest type that any weight was rounded to between checkpoint and folder; F64 when none was.
DType coarsest_rounding(const CheckpointReader& reader, const ModelToWrite& model) {
  DType out = DType::F64;
  for (const Parameter& parameter : parameters(model.config)) {
    const DType from = reader.tensors().at(parameter.name).dtype, to = model.dtype(parameter.name);
    const bool exact = from == to || (precision(from) < precision(to) && to != DType::F16);
    if (!exact && precision(to) < precision(out)) out = to;
  }
  return out;
}

// Training in bf16 keeps fp32 masters and computes with their bf16 roundings: these are the model.
std::optional<DType> computed_with(const CheckpointMeta& meta) {
  if (meta.kind == "train" && meta.probe.compute == "bf16") return DType::BF16;
  return std::nullopt;
}

ModelToWrite describe_model(const CheckpointReader& reader, std::optional<DType> forced) {
  ModelToWrite model;
  model.config = reader.meta().config;
  model.companions = reader.meta().files;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  std::set<std::string> routers;  // small, and what decides should not be rounded
  for (const Parameter& parameter : parameters(model.config)) {
    LACUNA_CHECK(reader.tensors().count(parameter.name), ErrorKind::BadInput, "{}: tensor '{}' is missing",
                 reader.folder(), parameter.name);
    shapes.emplace(parameter.name, parameter.shape);
    if (parameter.role >= Role::RouterWeight) routers.insert(parameter.name);
  }
  model.dtype = [&reader, forced, routers](const std::string& name) {
    return forced && !routers.count(name) ? *forced : reader.tensors().at(name).dtype;
  };
  model.read = [&reader, shapes](const std::string& name, DType dtype, void* dst) {
    const std::vector<std::int64_t>& shape = shapes.at(name);
    reader.read(name, {std::vector<std::int64_t>(shape.size(), 0), shape}, dtype, dst);
  };
  return model;
}

void require_match(const SelfCheck& check, const std::string& checkpoint) {
  LACUNA_CHECK(
      check.doubt <= check.doubt_bound, ErrorKind::BadInput,
      "{}: the exported model's router does not choose the experts that the checkpoint's did: {:.3g} "
      "from its own scores (bound {:.3g}); nothing was written",
      checkpoint, check.doubt, check.doubt_bound);
  LACUNA_CHECK(
      check.passed(), ErrorKind::BadInput,
      "{}: the exported model does not reproduce the checkpoint's own logits: largest difference {:.3g} "
      "(bound {:.3g}), root mean square {:.3g} (bound {:.3g}) over {} sequences; nothing was written",
      checkpoint, check.worst_abs, check.abs_bound, check.worst_rms, check.rms_bound, check.sequences);
}

}  // namespace

ExportReport export_model(const ExportOptions& options) {
  std::vector<std::string> rejected;
  const CheckpointReader reader(options.model, &rejected);
  for (const std::string& line : rejected) log_warning("{}", line);
  const CheckpointMeta& meta = reader.meta();
  LACUNA_CHECK(!meta.probe.sequences.empty(), ErrorKind::BadInput,
               "{}: holds no probe to prove the export against", reader.folder());
  OutputFolder out(options.out, options.force, is_exported);
  const ModelToWrite model = describe_model(reader, options.dtype ? options.dtype : computed_with(meta));
  write_model_files(out.temporary(), model);
  ExportReport report;
  report.check = self_check(out.temporary(), meta.probe, coarsest_rounding(reader, model), options.threads);
  require_match(report.check, reader.folder());
  report.checkpoint = reader.folder();
  report.content_hash = reader.content_hash().hex();
  report.config = meta.config;
  report.bundled = writes_bundles(meta.config);
  if (meta.config.activation != Activation::Silu || meta.config.is_routed())
    write_file_atomic(out.temporary() + "/sparsity.json",
                      write_sparsity(report.check.sparsity, meta.config, report.bundled));
  const std::string dtype(name_of(model.dtype("model.embed_tokens.weight")));
  write_file_atomic(
      out.temporary() + "/MODEL_CARD.md",
      write_model_card(meta, report.check, {report.checkpoint, report.content_hash, dtype, options.command}));
  write_sums(out.temporary());
  out.commit();
  report.folder = out.path();
  return report;
}

}  // namespace lacuna
