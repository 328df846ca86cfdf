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
      .flag("ctx", engine.context, "context in tokens; 0 = the trained one");
  declare_device(options);
}

void ModelFlags::declare_device(Options& options) {
  options.flag("device", device, "auto | cpu | cuda; auto: a GPU where there is one")
      .flag("dtype", dtype,
            "of weights on a GPU: auto | bf16 | fp32; auto: bf16 stays bf16, all else is fp32")
      .flag("threads", engine.threads, "CPU threads; 0 = as many as this process may run on");
}

bool ModelFlags::on_gpu(const ModelConfig& config) const {
  LACUNA_CHECK(device == "auto" || device == "cpu" || device == "cuda", ErrorKind::Usage,
               "--device '{}' is unknown (auto, cpu, cuda)", device);
  LACUNA_CHECK(dtype == "auto" || dtype == "bf16" || dtype == "fp32", ErrorKind::Usage,
               "--dtype '{}' is unknown (auto, bf16, fp32)", dtype);
  if (device == "cuda") {
    const std::string why = why_no_gpu();
    LACUNA_CHECK(why.empty(), ErrorKind::Usage, "--device cuda: {}", why);
    return true;
  }
  const bool oracle = config.is_routed() && config.routed.router == RouterKind::Oracle;
  return device == "auto" && !oracle && why_no_gpu().empty();
}

namespace {

std::unique_ptr<Engine> make_engine(ModelSource source, const ModelFlags& flags, EngineOptions options) {
  if (flags.on_gpu(source.config()))
    options.backend = gpu_backend(flags.gpu_options());
  else
    LACUNA_CHECK(flags.dtype == "auto", ErrorKind::Usage,
                 "--dtype {} is for --device cuda; the CPU computes in fp32 from the stored types",
                 flags.dtype);
  return std::make_unique<Engine>(std::move(source), options);
}

}  // namespace

std::unique_ptr<Engine> load_engine(const std::string& path, const ModelFlags& flags,
                                    const EngineOptions& options) {
  return make_engine(open_any_model(path), flags, options);
}

OpenedModel open_model(const ModelFlags& flags) {
  ModelSource source = open_any_model(flags.model, flags.tokenizer);
  OpenedModel out;
  const std::string from = flags.tokenizer.empty() ? source.tokenizer_path() : flags.tokenizer;
  if (!from.empty())
    out.tokenizer = load_tokenizer(from);
  else if (!source.companions().empty())  // a checkpoint carries the bytes
    out.tokenizer = tokenizer_from_files(source.companions(), flags.model);
  out.engine = make_engine(std::move(source), flags, flags.engine);
  const Weights& weights = out.engine->weights();
  log_info("{}: {}, {} {} layers, {:.1f} M parameters in {}, {} FFN path on {}", flags.model,
           weights.source().kind(), weights.config().layers, name_of(weights.config().activation),
           static_cast<double>(weights.parameters()) / 1e6, name_of(weights.head().dtype),
           out.engine->path() == FfnPath::Sparse ? "sparse" : "dense",
           flags.on_gpu(weights.config()) ? gpu_name() : "the CPU");
  return out;
}

const Tokenizer& tokenizer_of(const OpenedModel& model, const ModelFlags& flags) {
  LACUNA_CHECK(model.tokenizer != nullptr, ErrorKind::BadInput,
               "{}: no tokenizer in this model; name one with --tokenizer", flags.model);
  return *model.tokenizer;
}

}  // namespace lacuna
