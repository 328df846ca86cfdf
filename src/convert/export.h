// A checkpoint -> a model folder for inference. The folder appears at its place only after the engine, run on
// what was written, has reproduced the checkpoint's probe.
#pragma once

#include <optional>
#include <string>

#include "src/base/dtype.h"
#include "src/convert/self_check.h"

namespace lacuna {

struct ExportOptions {
  std::string model;           // step folder, or run: its newest step that verifies
  std::string out;             // model folder to make
  std::optional<DType> dtype;  // of all weights; none: as the forward had them that made the probe
  bool force = false;          // replace an earlier export
  int threads = 0;             // 0: as many as this process may run on
  std::string command;         // for MODEL_CARD.md
};

struct ExportReport {
  std::string folder, checkpoint, content_hash;
  ModelConfig config;
  bool bundled = false;
  SelfCheck check;
};

// Error(BadInput): no checkpoint, damaged bytes, no probe, or logits beyond the bound (nothing is left then).
ExportReport export_model(const ExportOptions& options);

}  // namespace lacuna
