// Carving as a recipe: the parent's function with all experts on, trajectories, routers, refusals.
#include "recipes/cmoe/cmoe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "src/base/error.h"
#include "tests/recipes/cmoe/carved_runs.h"

namespace lacuna::test {
namespace {

TEST(Cmoe, WithAllExpertsOnItIsTheParent) {
  const Outcome got = carve(small_options(1, 1, 1), small_carving());
  EXPECT_NEAR(got.all_on, got.parent, 1e-13 * got.parent);  // sums over neurons in another order
  EXPECT_GT(std::abs(got.loss - got.parent), 1e-6);         // and with some off it is not
  int moved = 0;
  for (const auto& [name, values] : got.weights)
    if (is_reordered(name)) moved += values != parent_tensors().at(name);
  EXPECT_EQ(moved, 6);  // gate and down of three layers
}

TEST(Cmoe, InOrderTheFirstLayerSeesTheParentAndLaterOnesDoNot) {
  const Outcome dense = carve(small_options(1, 1, 1), small_carving({{"cmoe.spread-shared", "equal"}}));
  const Outcome carved = carve(small_options(1, 1, 1), small_carving({{"cmoe.trajectory", "carved"}}));
  const auto router = [](const Outcome& from, int layer) {
    return from.weights.at("model.layers." + std::to_string(layer) + ".mlp.router.weight");
  };
  // Before the first layer is carved, all experts of all layers are on: the parent, but for the order of
  // sums.
  for (std::size_t i = 0; i < router(dense, 0).size(); ++i)
    EXPECT_NEAR(router(carved, 0)[i], router(dense, 0)[i], 1e-6);
  EXPECT_NE(router(carved, 2), router(dense, 2));
}

TEST(Cmoe, RoutersAndControlsAllRun) {
  const double parent = carve(small_options(1, 1, 1), small_carving()).parent;
  for (const char* router : {"lowrank", "rep", "oracle", "random"})
    EXPECT_NEAR(
        carve(small_options(1, 1, 1), small_carving({{"cmoe.router", router}, {"cmoe.rank", "2"}})).all_on,
        parent, 1e-12 * parent)
        << router;
  const double none = carve(small_options(1, 1, 1), small_carving({{"cmoe.router", "none"}})).loss;
  EXPECT_GT(std::abs(none - parent), 1e-6);
  const double kept = carve(small_options(1, 1, 1), small_carving({{"cmoe.static", "heapr"}})).loss;
  EXPECT_TRUE(std::isfinite(kept));
}

TEST(Cmoe, RefusesSettingsThatDoNotFit) {
  const auto problems = [](const Settings& settings) {
    std::string all;
    for (const std::string& line : recipe_with(settings)->problems()) all += line + "\n";
    return all;
  };
  EXPECT_EQ(problems(small_carving()), "");
  EXPECT_NE(problems({{"cmoe.shared", "8"}}).find("--shared is 8"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.router", "best"}}).find("'best'"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.compat", "yes"}, {"cmoe.static", "rate"}}).find("exclude"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.spread-shared", "best"}}).find("'best', wanted equal, loss"), std::string::npos);
  EXPECT_NE(problems({{"cmoe.report", "yes"}}).find("--texts"), std::string::npos);
  ModelConfig parent = parent_model();
  EXPECT_THROW(recipe_with({{"cmoe.experts", "49"}})->rewrite(parent), Error);
  parent.routed = recipe_with(small_carving())->rewrite(parent).routed;
  EXPECT_THROW(recipe_with(small_carving())->rewrite(parent), Error);  // experts of experts
}

}  // namespace
}  // namespace lacuna::test
