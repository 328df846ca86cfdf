// The one way to a schedule that can run: generator, passes, slots, proof. Planner and trainer use it alike.
#pragma once

#include <string>

#include "parallel/plan/schedule.h"

namespace lacuna {

// kind: gpipe | 1f1b. bpipe: off | tight (cap K = ceil((pp+2)/2) stashes) | loose (K + 1). pieces: the parts
// a stash is cut into; BPipe moves one part at a time. split_backward: input and weight gradients as two
// actions. One stage a rank. Any pp, micros >= 1; BPipe has nothing to do up to pp = 3 and on schedules whose
// stages are balanced already. Error(Usage) on values outside these, Error(Internal) when the result is not
// legal.
Schedule make_schedule(const std::string& kind, int pp, int micros, const std::string& bpipe, int pieces,
                       bool split_backward = false);

// Evaluation: forwards in order, every stash slot used again at once.
Schedule make_forward_schedule(int pp, int micros, int pieces);

}  // namespace lacuna
