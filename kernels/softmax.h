// In-place softmax of the first `count` entries of a row: exp(scale·(s - max)) / sum. scale > 0.
#pragma once

#include <cstdint>

#include "kernels/isa.h"

namespace lacuna {

void softmax(float* scores, std::int64_t count, float scale, Isa isa = best_isa());

void softmax_ref(double* scores, std::int64_t count, double scale);

}  // namespace lacuna
