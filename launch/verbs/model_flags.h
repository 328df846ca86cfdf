// The flags that every verb with an inference engine shares, and what they open.
#pragma once

#include <memory>
#include <string>

#include "launch/options.h"
#include "src/infer/cuda/cuda_inference.h"
#include "src/infer/engine.h"
#include "src/text/tokenizer.h"

namespace lacuna {

struct ModelFlags {
  std::string model, tokenizer, device = "auto", dtype = "auto";
  EngineOptions engine;
  void declare(Options& options);
  // --device, --dtype and --threads alone.
  void declare_device(Options& options);
  // True: on the GPU. A model's config decides under "auto": a GPU runs no oracle router. Error(Usage) when
  // the device is unknown or cannot be had, and for --dtype without a GPU.
  bool on_gpu(const ModelConfig& config) const;
  GpuOptions gpu_options() const { return {dtype}; }
};

struct OpenedModel {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the model has none and none was named
};

// The engine of any model that -m or --parent takes (folder, llama2.c file, checkpoint, run), on the device
// that `flags` name.
std::unique_ptr<Engine> load_engine(const std::string& path, const ModelFlags& flags,
                                    const EngineOptions& options);

// Says on stderr what kind of model it is.
OpenedModel open_model(const ModelFlags& flags);

// The tokenizer of an opened model; Error(BadInput) when it has none.
const Tokenizer& tokenizer_of(const OpenedModel& model, const ModelFlags& flags);

}  // namespace lacuna
