#include "src/eval/divergence.h"

#include <cmath>

#include "tests/eval/held_out.h"

namespace lacuna {
namespace {

using namespace test;

TEST(RowDivergence, IsTheSumOverTheParentsDistribution) {
  const std::vector<float> p = {0, std::log(3.0f)}, q = {0, 0};  // 1/4, 3/4 against 1/2, 1/2
  EXPECT_NEAR(row_divergence(p, q), 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
  EXPECT_NEAR(row_divergence(q, p), 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-7);
  EXPECT_EQ(row_divergence(p, p), 0);
}

TEST(Divergence, OfAModelFromItselfIsZeroAndVocabulariesMustAgree) {
  const std::string models = data_folder() + "/models";
  const std::unique_ptr<Engine> one = Engine::load(models + "/stories656k", {1});
  const std::unique_ptr<Engine> two = Engine::load(models + "/stories656k", {2});
  const std::vector<std::int32_t> ids =
      load_tokenizer(models + "/stories656k")
          ->encode(read_file(models + "/../SOURCES.md", 1 << 24).substr(0, 900), false);
  const Divergence same = divergence(*one, *two, ids, {80, 2});
  EXPECT_EQ(same.kl, 0);
  EXPECT_EQ(same.same_top1, 1);
  EXPECT_EQ(same.predicted, 158);
  const std::unique_ptr<Engine> other = Engine::load(models + "/stories260k/stories260K.bin", {});
  EXPECT_THROW(divergence(*other, *one, ids, {80, 2}), Error);
}

}  // namespace
}  // namespace lacuna
