// Carving (CMoE, arXiv 2502.04416v3): the neurons of a trained FFN are sorted into a shared set and experts,
// and a router made from calibration tokens chooses experts for each token. No training, no weight changes.
#pragma once

#include "recipes/recipe.h"

namespace lacuna {

RecipeEntry cmoe_recipe();

}  // namespace lacuna
