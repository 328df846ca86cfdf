// Compute orders, one stage a rank: the compute rows of a table and nothing else. Error(Usage) unless
// ranks >= 1 and micros >= 1.
#pragma once

#include "parallel/plan/schedule.h"

namespace lacuna {

// All forwards, then all backwards, micro-batches ascending in both (GPipe, arXiv 1811.06965, with the
// backwards in ascending order so that gradients add up in the same order as in 1F1B).
Schedule gpipe(int ranks, int micros);

// Rank r runs min(ranks-1-r, micros) forwards ahead, then alternates, then drains (PipeDream-flush, arXiv
// 2006.09503). Defined for micros < ranks too.
Schedule one_f_one_b(int ranks, int micros);

// Evaluation: forwards only.
Schedule forward_only(int ranks, int micros);

}  // namespace lacuna
