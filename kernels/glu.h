// The gated product of an FFN: silu(gate)·up, relu(gate)·up, or relu(gate)·relu(up) (dReLU, arXiv
// 2406.05955 eq. 2). relu(x) is +0 for x <= 0 and x otherwise, so NaN passes through.
#pragma once

#include "kernels/isa.h"
#include "kernels/matrix.h"

namespace lacuna {

enum class Gating : std::uint8_t { Silu, Relu, Drelu };

// product[t][i] for the neurons i of `runs`; product may be gate or up. Other entries stay untouched.
// Returns the number of entries written that are exactly zero.
std::int64_t glu(Gating gating, Runs runs, ConstRows gate, ConstRows up, Rows product, Isa isa = best_isa());

double glu_ref(Gating gating, double gate, double up);

}  // namespace lacuna
