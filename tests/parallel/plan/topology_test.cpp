#include "parallel/plan/topology.h"

#include <gtest/gtest.h>

#include <set>

#include "src/base/error.h"

namespace lacuna {
namespace {

std::vector<int> counts(const std::vector<LayerRange>& ranges) {
  std::vector<int> out;
  int end = 0;
  for (const LayerRange& range : ranges) {
    EXPECT_EQ(range.begin, end);
    end = range.end;
    out.push_back(range.end - range.begin);
  }
  return out;
}

TEST(CutLayers, EvenAsFarAsPossibleAndTheLastStageNeverTakesMore) {
  EXPECT_EQ(counts(cut_layers(8, 4, {})), (std::vector<int>{2, 2, 2, 2}));
  EXPECT_EQ(counts(cut_layers(10, 4, {})), (std::vector<int>{3, 3, 2, 2}));
  EXPECT_EQ(counts(cut_layers(7, 4, {})), (std::vector<int>{2, 2, 2, 1}));
  EXPECT_EQ(counts(cut_layers(5, 1, {})), (std::vector<int>{5}));
  EXPECT_EQ(counts(cut_layers(16, 4, {3, 5, 5, 3})), (std::vector<int>{3, 5, 5, 3}));
}

TEST(CutLayers, SaysWhatDoesNotFit) {
  const auto message = [](int layers, int stages, const std::vector<int>& cuts) -> std::string {
    try {
      cut_layers(layers, stages, cuts);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(3, 4, {}), "--pp 4: the model has only 3 layers, one a stage at most");
  EXPECT_EQ(message(8, 0, {}), "--pp 0: at least one pipeline stage");
  EXPECT_EQ(message(8, 2, {3, 3, 2}), "layers per stage: 3 numbers given for 2 stages");
  EXPECT_EQ(message(8, 2, {3, 4}), "layers per stage: the numbers sum to 7, the model has 8");
  EXPECT_EQ(message(8, 2, {9, -1}), "layers per stage: stage 1 has -1, wanted at least 1");
}

TEST(Topology, RanksAndCoordinatesAreInverse) {
  const Topology t{.pp = 3, .tp = 2, .dp = 4};
  std::set<int> seen;
  for (int pp = 0; pp < 3; ++pp)
    for (int dp = 0; dp < 4; ++dp)
      for (int tp = 0; tp < 2; ++tp) {
        const Coordinates at{pp, tp, dp};
        EXPECT_EQ(rank_of(t, at), (pp * 4 + dp) * 2 + tp);
        EXPECT_EQ(coordinates_of(t, rank_of(t, at)), at);
        seen.insert(rank_of(t, at));
      }
  EXPECT_EQ(static_cast<int>(seen.size()), t.world());
}

}  // namespace
}  // namespace lacuna
