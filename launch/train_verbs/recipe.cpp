// lacuna recipe ls | show NAME | NAME ...: sparsification recipes.
#include "launch/output.h"
#include "launch/train_verbs/train_verb.h"
#include "src/base/error.h"

namespace lacuna {

namespace {

int list_recipes() {
  std::string out;
  for (const RecipeEntry& entry : all_recipes())
    out += fmt::format("{:<10} {}\n{:<10}   {}\n", entry.name, entry.summary, "", entry.example);
  print_text(out);
  return 0;
}

int run_recipe(const std::vector<std::string>& arguments) {
  LACUNA_CHECK(!arguments.empty(), ErrorKind::Usage, "recipe wants a name: lacuna recipe ls lists them");
  if (arguments[0] == "ls") return list_recipes();
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    print_text(
        fmt::format("lacuna recipe ls            lists the recipes\nlacuna recipe show NAME     prints a "
                    "commented configuration\nlacuna recipe NAME --help   lists its flags\n\n{}\n",
                    recipe_verb.example));
    return 0;
  }
  if (arguments[0] == "show") {
    LACUNA_CHECK(arguments.size() == 2, ErrorKind::Usage, "recipe show wants one name");
    print_text(find_recipe(arguments[1]).ini);
    return 0;
  }
  const RecipeEntry& entry = find_recipe(arguments[0]);
  const std::unique_ptr<Recipe> recipe = entry.make();
  TrainingJob job;
  job.verb = std::string("recipe ") + entry.name;
  job.recipe = recipe.get();
  job.make_recipe = entry.make;
  return parse_and_run(job, entry.summary, entry.example, {arguments.begin() + 1, arguments.end()});
}

}  // namespace

const Verb recipe_verb = {"recipe", "makes a model sparse: recipe ls, recipe show NAME, recipe NAME",
                          "mpirun -n 4 lacuna recipe drelu -m RUN --data tokens.h5 -o SPARSE --pp 2 --tp 2 "
                          "--global-batch 16 --steps 200",
                          run_recipe};

}  // namespace lacuna
