#include "src/infer/rope_settings.h"

namespace lacuna {

RopeSettings rope_settings(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  RopeSettings out;
  out.theta = config.rope_theta;
  if (scaling.kind == "linear") out.scaling = RopeSettings::Scaling::Linear;
  if (scaling.kind == "llama3") out.scaling = RopeSettings::Scaling::Llama3;
  out.factor = scaling.factor;
  out.low_freq_factor = scaling.low_freq_factor;
  out.high_freq_factor = scaling.high_freq_factor;
  out.original_positions = static_cast<double>(scaling.original_positions);
  return out;
}

}  // namespace lacuna
