// The kernels' name of a model's activation.
#pragma once

#include "kernels/glu.h"
#include "src/arch/model_config.h"

namespace lacuna {

inline Gating gating_of(Activation activation) {
  switch (activation) {
    case Activation::Silu:
      return Gating::Silu;
    case Activation::Relu:
      return Gating::Relu;
    case Activation::Drelu:
      return Gating::Drelu;
  }
  return Gating::Silu;
}

}  // namespace lacuna
