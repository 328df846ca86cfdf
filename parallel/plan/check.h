// Proves a table legal, or says what is wrong. A legal table runs to its end on any mix of blocking and
// asynchronous ranks without buffering between ranks, within its slots, and adds gradients in ascending
// micro-batch order.
#pragma once

#include <string>
#include <vector>

#include "parallel/plan/schedule.h"

namespace lacuna {

// Empty: legal. Otherwise one line a problem, each naming rank, row, index and action, for example
// "rank 2, compute 5, 2B3: stands before its forward". Never throws on a wrong table.
std::vector<std::string> violations(const Schedule& schedule);

}  // namespace lacuna
