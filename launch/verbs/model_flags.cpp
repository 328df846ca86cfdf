#include "launch/verbs/model_flags.h"

#include "src/base/error.h"
#include "src/base/log.h"
#include "src/convert/checkpoint_source.h"

namespace lacuna {

void ModelFlags::declare(Options& options) {
  options.flag("model,m", model, "HF folder, exported folder, llama2.c file, checkpoint or run")
      .flag("tokenizer", tokenizer, "tokenizer file or folder, when the model brings none")
      .flag("path", engine.path,
            "auto | dense | sparse: read all FFN weights, or only those of active neurons")
      .flag("threads", engine.threads, "CPU threads; 0 = as many as this process may run on")
      .flag("ctx", engine.context, "context in tokens; 0 = the trained one");
}

std::unique_ptr<Engine> load_engine(const std::string& path, const EngineOptions& options) {
  return std::make_unique<Engine>(open_any_model(path), options);
}

OpenedModel open_model(const ModelFlags& flags) {
  ModelSource source = open_any_model(flags.model, flags.tokenizer);
  OpenedModel out;
  const std::string from = flags.tokenizer.empty() ? source.tokenizer_path() : flags.tokenizer;
  if (!from.empty())
    out.tokenizer = load_tokenizer(from);
  else if (!source.companions().empty())  // a checkpoint carries the bytes
    out.tokenizer = tokenizer_from_files(source.companions(), flags.model);
  out.engine = std::make_unique<Engine>(std::move(source), flags.engine);
  const Weights& weights = out.engine->weights();
  log_info("{}: {}, {} {} layers, {:.1f} M parameters in {}, {} FFN path", flags.model,
           weights.source().kind(), weights.config().layers, name_of(weights.config().activation),
           static_cast<double>(weights.parameters()) / 1e6, name_of(weights.head().dtype),
           out.engine->path() == FfnPath::Sparse ? "sparse" : "dense");
  return out;
}

const Tokenizer& tokenizer_of(const OpenedModel& model, const ModelFlags& flags) {
  LACUNA_CHECK(model.tokenizer != nullptr, ErrorKind::BadInput,
               "{}: no tokenizer in this model; name one with --tokenizer", flags.model);
  return *model.tokenizer;
}

}  // namespace lacuna
