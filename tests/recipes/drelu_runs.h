// The small parent converted to dReLU under any layout: what the tests of the recipe run.
#pragma once

#include <string>
#include <vector>

#include "tests/recipes/small_parent.h"

namespace lacuna::test {

struct Converted {
  double parent_loss = 0, rewritten_loss = 0;  // of the parent, and of its function with the child's weights
  GlobalTensors weights;                       // of the child, before its first step
  std::vector<double> zeros, losses;           // per layer after the last step; of every step
};
Converted convert_to_drelu(const TrainOptions& options, int steps = 0);

}  // namespace lacuna::test
