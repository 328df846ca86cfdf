// dReLU (TurboSparse, arXiv 2406.05955): the gated FFN becomes relu(gate)·relu(up) in one step, and training
// goes on with all weights. About 85-95 % of the products are then exact zeros.
#pragma once

#include "recipes/recipe.h"

namespace lacuna {

RecipeEntry drelu_recipe();

}  // namespace lacuna
