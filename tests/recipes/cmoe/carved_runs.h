// A small model carved under any layout, ranks as threads: what the tests of the recipe run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "tests/recipes/small_parent.h"

namespace lacuna::test {

// Values of the recipe's options by name.
using Settings = std::map<std::string, std::string>;
std::unique_ptr<Recipe> recipe_with(const Settings& settings);
// Eight parts, two shared, two active; `more` goes before.
Settings small_carving(Settings more = {});

struct Outcome {
  RoutedFfn routed;                         // of the child
  GlobalTensors weights, trained;           // of the child, before its first step and after its last
  int passes = 0;                           // of calibration, over training data
  double loss = 0, all_on = 0, parent = 0;  // of the child, the child with all experts on, the parent
  std::vector<double> losses;               // of training steps
};
// Carves under `options`, scores, then trains the child for `steps` steps.
Outcome carve(const TrainOptions& options, const Settings& settings, int steps = 0);

// Of the parent's tensors, whether a tensor of the child is this one in another order of neurons.
bool is_reordered(const std::string& name);

}  // namespace lacuna::test
