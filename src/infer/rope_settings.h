// The rotary embedding that a model asks for.
#pragma once

#include "kernels/rope.h"
#include "src/arch/model_config.h"

namespace lacuna {

RopeSettings rope_settings(const ModelConfig& config);

}  // namespace lacuna
