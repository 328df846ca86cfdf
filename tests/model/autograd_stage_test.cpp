// The adapter itself: modules of one's own, penalties, and cuts.
#include "src/model/autograd_stage.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "src/base/error.h"
#include "tests/model/stage_runner.h"

namespace lacuna::test {
namespace {

TEST(AutogradStage, RunsAModuleOfOnesOwn) {
  at::set_num_threads(1);
  const Problem p;
  // Only the final norm's weight and a penalty: everything about the gradient is known.
  AutogradStage stage(p.options(), [](const ModuleCall& call) {
    const at::Tensor weight = call.weight("model.norm.weight");
    return ModuleResult{weight.sum() * 3, weight.square().sum() * 0.5};
  });
  stage.parameters().initialise(1);
  enliven(stage.parameters());
  const Outcome out = run_autograd(stage, p);
  const at::Tensor weight = stage.parameters().at("model.norm.weight").weight;
  const double scale = p.batch().loss_scale;
  EXPECT_TRUE(at::allclose(out.grads.at("model.norm.weight"), (weight + 3 * scale) * 2.0, 1e-14))
      << "two micros";
  EXPECT_DOUBLE_EQ(out.losses[1], 3 * weight.sum().item<double>());
  EXPECT_EQ(out.grads.at("lm_head.weight").abs().max().item<double>(), 0);
}

TEST(AutogradStage, CutsChangeNothingBeyondRounding) {
  at::set_num_threads(1);
  Problem p;
  p.config.tied_embeddings = true;
  p.l1 = 0.3;
  const Outcome whole = run_autograd(p);
  p.cuts = {{0, 1}, {1, 2}};
  Outcome cut = run_autograd(p);
  EXPECT_EQ(cut.boundary_grads.size(), 2u);
  cut.boundary_grads.clear();
  std::string worst;
  EXPECT_LE(worst_difference(cut, whole, &worst), 1e-13) << worst;
}

TEST(AutogradStage, KeepsOnlyItsInput) {
  Problem p;
  p.cuts = {{0, 1}, {1, 2}};
  p.pieces = 3;
  const AutogradStage stage(p.options());
  EXPECT_EQ(stage.piece_bytes(1, 0), 2u * 7 * 24 * 8);
  EXPECT_EQ(stage.piece_bytes(1, 1), 0u);
}

TEST(AutogradStage, RefusesTensorParallelism) {
  Problem p;
  p.shape.tp = 2;
  try {
    AutogradStage stage(p.options());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "autograd stages know no tensor parallelism, got tp 2");
  }
}

}  // namespace
}  // namespace lacuna::test
