#include "src/convert/inspect.h"

#include <memory>

#include "src/arch/parameters.h"
#include "src/base/error.h"
#include "src/base/json.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/config_json.h"
#include "src/checkpoint/step_folders.h"
#include "src/convert/tokenizer_check.h"
#include "src/data/token_file.h"
#include "src/format/detect.h"
#include "src/format/hf_folder.h"
#include "src/format/safetensors.h"

namespace lacuna {

namespace {

void put_dtypes(Json& out, const std::map<std::string, std::uint64_t>& bytes) {
  out["dtypes"] = Json::object();
  for (const auto& [dtype, count] : bytes) out["dtypes"][dtype] = count;
}

Json inspect_model(const std::string& path) {
  const ModelSource source = ModelSource::open(path);
  Json out = {{"kind", source.kind()}, {"path", path}, {"step", 0}, {"tokens", 0}};
  out["parameters"] = parameter_count(source.config());
  out["content_hash"] = content_hash(source).hex();
  out["layout"] = {{"pp", 1}, {"tp", 1}, {"dp", 1}};
  out["bundled"] = source.bundled();
  out["config"] = config_to_json(source.config());
  std::map<std::string, std::uint64_t> bytes;
  for (const Parameter& parameter : parameters(source.config())) {
    const DType dtype = source.stored_dtype(parameter.name);
    bytes[std::string(name_of(dtype))] += static_cast<std::uint64_t>(parameter.elements()) * size_of(dtype);
  }
  put_dtypes(out, bytes);
  out["tokenizer"] = describe_tokenizer(source.companions(), path);
  return out;
}

Json inspect_checkpoint(const std::string& path, PathKind kind) {
  std::vector<std::string> rejected;
  const CheckpointReader reader(path, &rejected);
  const CheckpointMeta& meta = reader.meta();
  Json out = {
      {"kind", name_of(kind)}, {"path", path}, {"checkpoint", reader.folder()}, {"made_by", meta.kind}};
  out["run_id"] = reader.run_id();
  out["step"] = meta.step;
  out["tokens"] = meta.tokens;
  out["parameters"] = parameter_count(meta.config);
  out["content_hash"] = reader.content_hash().hex();
  out["layout"] = Json(meta.layout);
  out["config"] = config_to_json(meta.config);
  std::map<std::string, std::uint64_t> bytes;
  bool has_state = false;
  for (const auto& [name, info] : reader.tensors()) {
    std::uint64_t count = size_of(info.dtype);
    for (const std::int64_t extent : info.shape) count *= static_cast<std::uint64_t>(extent);
    bytes[std::string(name_of(info.dtype))] += count;
    has_state = has_state || name.starts_with("optim.");
  }
  put_dtypes(out, bytes);
  out["optimizer_state"] = has_state;
  out["probe_sequences"] = meta.probe.sequences.size();
  out["tokenizer"] = describe_tokenizer(meta.files, reader.folder());
  if (kind == PathKind::Run) {
    out["steps"] = Json(committed_steps(path));
    out["rejected"] = Json(rejected);
  }
  return out;
}

Json inspect_tokens(const std::string& path) {
  const TokenFile file(path);
  const TokenFileMeta& meta = file.meta();
  Json out = {{"kind", name_of(PathKind::TokenFile)}, {"path", path}, {"tokens", file.tokens()}};
  out["documents"] = file.documents();
  out["dtype"] = std::string(name_of(file.dtype()));
  out["vocab"] = meta.vocab_size;
  out["eos_id"] = meta.eos_id;
  out["source"] = meta.source;
  out["fingerprint"] = file.fingerprint();
  out["tokenizer"] = describe_tokenizer(meta.tokenizer_files, path);
  return out;
}

Json inspect_safetensors(const std::string& path) {
  const SafetensorsFile file(path);
  Json out = {{"kind", name_of(PathKind::Safetensors)}, {"path", path}, {"metadata", Json(file.metadata())}};
  Json tensors = Json::array();
  for (const SafetensorsEntry& entry : file.entries())
    tensors.push_back(
        {{"name", entry.name}, {"dtype", std::string(entry.dtype_name)}, {"shape", entry.shape}});
  out["tensors"] = std::move(tensors);
  return out;
}

}  // namespace

ContentHash content_hash(const ModelSource& source) {
  ContentHash hash;
  for (const Parameter& parameter : parameters(source.config())) {
    const DType dtype = source.stored_dtype(parameter.name);
    const auto count = static_cast<std::size_t>(parameter.elements());
    if (source.has(parameter.name)) {
      add_elements(hash, parameter.name, 0, source.tensor(parameter.name).data, count, size_of(dtype));
      continue;
    }
    const auto copy = std::make_unique_for_overwrite<std::byte[]>(count * size_of(dtype));
    source.copy(parameter.name, dtype, copy.get());
    add_elements(hash, parameter.name, 0, copy.get(), count, size_of(dtype));
  }
  return hash;
}

Json inspect(const std::string& path) {
  const PathKind kind = detect(path);
  if (is_model(kind)) return inspect_model(path);
  switch (kind) {
    case PathKind::Checkpoint:
    case PathKind::Run:
      return inspect_checkpoint(path, kind);
    case PathKind::Tokenizer: {
      Json out = {{"kind", name_of(kind)}, {"path", path}};
      out["tokenizer"] = describe_tokenizer(tokenizer_bytes(path), path);
      return out;
    }
    case PathKind::TokenFile:
      return inspect_tokens(path);
    case PathKind::Safetensors:
      return inspect_safetensors(path);
    default:
      break;
  }
  fail(ErrorKind::BadInput, "{}: neither a model, a checkpoint, a run, a token file nor a tokenizer", path);
}

}  // namespace lacuna
