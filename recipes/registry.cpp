#include "recipes/cmoe/cmoe.h"
#include "recipes/drelu/drelu.h"
#include "recipes/recipe.h"
#include "src/base/error.h"

namespace lacuna {

const std::vector<RecipeEntry>& all_recipes() {
  static const std::vector<RecipeEntry> recipes = {drelu_recipe(), cmoe_recipe()};
  return recipes;
}

const RecipeEntry& find_recipe(std::string_view name) {
  std::string known;
  for (const RecipeEntry& entry : all_recipes()) {
    if (name == entry.name) return entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail(ErrorKind::Usage, "unknown recipe '{}'; there are: {}", name, known);
}

}  // namespace lacuna
