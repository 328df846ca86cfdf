#include "src/convert/verify.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/step_folders.h"
#include "src/convert/tokenizer_check.h"
#include "src/data/token_file.h"
#include "src/format/detect.h"
#include "src/format/folder_file.h"
#include "src/format/model_source.h"
#include "src/format/model_writer.h"
#include "src/format/safetensors.h"
#include "src/format/sparsity_json.h"

namespace lacuna {

namespace {

// Runs one check; what it returns is a line of the report, what it throws a problem.
void attempt(VerifyReport& report, const std::function<std::string()>& check) {
  try {
    report.checks.push_back(check());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::BadInput) throw;
    report.problems.push_back(error.what());
  }
}

std::string finite_values(const ModelSource& source) {
  std::int64_t values = 0;
  for (const auto& [name, view] : source.tensors()) {
    for (std::int64_t i = 0; i < view.elements(); ++i)
      LACUNA_CHECK(std::isfinite(load_as_double(view.data, view.dtype, static_cast<std::size_t>(i))),
                   ErrorKind::BadInput, "{}: tensor '{}' has a value that is no finite number at element {}",
                   source.path(), name, i);
    values += view.elements();
  }
  return fmt::format("{} values in {} tensors, all finite", values, source.tensors().size());
}

std::string tokenizer_fits(const ModelSource& source) {
  const std::string kind = check_tokenizer(source.companions(), source.config(), source.path());
  return kind.empty() ? "no tokenizer" : "tokenizer: " + kind;
}

void verify_model(const std::string& path, VerifyReport& report) {
  attempt(report, [&] {
    const ModelSource source = ModelSource::open(path);
    attempt(report, [&] { return finite_values(source); });
    attempt(report, [&] { return tokenizer_fits(source); });
    if (report.kind == name_of(PathKind::Llama2cFile)) return std::string("sizes fit the header");
    if (in_folder(path, "sparsity.json"))
      attempt(report, [&] {
        read_sparsity(read_in_folder(path, "sparsity.json", 4 << 20), source.config(),
                      path + "/sparsity.json");
        return std::string("sparsity.json fits the model");
      });
    return std::string("names, shapes and types of all tensors fit config.json");
  });
  if (report.kind == name_of(PathKind::Llama2cFile)) return;
  attempt(report, [&] {
    const int files = verify_sums(path);
    return files == 0 ? std::string("no SHA256SUMS") : fmt::format("{} files have their SHA-256", files);
  });
}

void verify_step(const std::string& folder, VerifyReport& report) {
  attempt(report, [&] {
    const CheckpointReader reader(folder);
    reader.verify();
    check_tokenizer(reader.meta().files, reader.meta().config, folder);
    return fmt::format("{}: {} tensors, all hashes right, content {}", folder, reader.tensors().size(),
                       reader.content_hash().hex());
  });
}

// Reading checks every id against the vocabulary.
std::string tokens_readable(const std::string& path) {
  const TokenFile file(path);
  std::vector<std::int32_t> ids(1 << 20);
  const auto block = static_cast<std::int64_t>(ids.size());
  for (std::int64_t at = 0; at < file.tokens(); at += block)
    file.read(at, std::min(block, file.tokens() - at), ids.data());
  ModelConfig sizes;
  sizes.vocab = file.meta().vocab_size;
  check_tokenizer(file.meta().tokenizer_files, sizes, path);
  return fmt::format("{} tokens in {} documents, all inside the vocabulary of {}", file.tokens(),
                     file.documents(), file.meta().vocab_size);
}

}  // namespace

VerifyReport verify(const std::string& path) {
  const PathKind kind = detect(path);
  VerifyReport report;
  report.kind = name_of(kind);
  if (is_model(kind)) {
    verify_model(path, report);
  } else if (kind == PathKind::Checkpoint) {
    verify_step(path, report);
  } else if (kind == PathKind::Run) {
    for (const std::int64_t step : committed_steps(path))
      verify_step(path + "/" + step_folder_name(step), report);
  } else if (kind == PathKind::TokenFile) {
    attempt(report, [&] { return tokens_readable(path); });
  } else if (kind == PathKind::Tokenizer) {
    attempt(report, [&] { return "tokenizer: " + describe_tokenizer_line(path); });
  } else if (kind == PathKind::Safetensors) {
    attempt(report,
            [&] { return fmt::format("{} tensors tile the file", SafetensorsFile(path).entries().size()); });
  } else {
    fail(ErrorKind::BadInput, "{}: neither a model, a checkpoint, a run, a token file nor a tokenizer", path);
  }
  return report;
}

}  // namespace lacuna
