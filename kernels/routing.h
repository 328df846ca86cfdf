// The choice of a routed FFN's router (src/arch/routed_ffn.h), in double: what kernels that make it are held
// to.
#pragma once

#include <cstdint>

#include "kernels/glu.h"

namespace lacuna {

// ‖a‖·‖b‖ of `rank` values each (lowrank), and Σ |act(a)·b| (neuron).
double lowrank_score_ref(const double* a, const double* b, std::int64_t rank);
double neuron_score_ref(Gating gating, const double* a, const double* b, std::int64_t rank);

struct RoutingRef {
  std::int64_t experts = 0, active = 0;
  bool threshold = false;         // on where the key is above 0, else the `active` largest keys
  const double* bias = nullptr;   // [experts], null: none; key = score + bias
  const double* scale = nullptr;  // [experts], null: all gates are 1
};
// gates [experts] of a token: 0 for those that are off. Equal keys: the lower index first; not a number comes
// before all others.
void routing_ref(const RoutingRef& routing, const double* scores, double* gates);

}  // namespace lacuna
