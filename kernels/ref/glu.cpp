#include "kernels/glu.h"

#include <cmath>

namespace lacuna {

double glu_ref(Gating gating, double gate, double up) {
  if (gating == Gating::Silu) return gate / (1 + std::exp(-gate)) * up;
  const double opened = gate <= 0 ? 0 : gate;
  if (gating == Gating::Relu) return opened * up;
  return opened * (up <= 0 ? 0 : up);
}

}  // namespace lacuna
