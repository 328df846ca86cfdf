// The router on a GPU: against a choice in double, the lists that it writes, and the FFN over them.
#include "kernels/cuda/decode_route.h"

#include <algorithm>
#include <numeric>

#include "kernels/routing.h"
#include "tests/kernels/cuda/decode_data.h"
#include "tests/kernels/cuda/routed_ffn_data.h"

namespace lacuna::cuda::test {
namespace {

constexpr RouteBy kKinds[] = {RouteBy::Linear, RouteBy::LowRank, RouteBy::Neuron, RouteBy::Random,
                              RouteBy::None};
// Hidden, FFN, blocks, experts, shared neurons, rank.
constexpr RouteShape kShapes[] = {{48, 70, 132, 5, 11, 3},      {72, 300, 7, 1, 0, 1},
                                  {520, 1100, 132, 33, 77, 40}, {4096, 330, 3, 8, 123, 2},
                                  {44, 2000, 132, 700, 1, 1},   {8200, 40, 5, 4, 36, 2}};

void expect_choice(const TestRouter& router, const Values& gates, const std::string& what) {
  const Values want = router.expected_gates(), bounds = router.gate_bounds();
  ASSERT_GT(router.margin(), 0) << what << ": the test's numbers are too close";
  for (std::size_t e = 0; e < want.size(); ++e) {
    ASSERT_EQ(gates[e] == 0, want[e] == 0) << what << " expert " << e;
    ASSERT_LE(std::abs(gates[e] - want[e]), bounds[e]) << what << " expert " << e;
  }
}

// Every segment holds its equal share of what is on, and behind it of what is off when all is wanted.
void expect_lists(const TestRouter& router, const Values& gates, bool whole) {
  std::vector<Listed> on, off;
  for (std::int64_t i = 0; i < router.begin[0]; ++i) on.push_back({i, 1});
  for (std::size_t e = 0; e < gates.size(); ++e)
    for (std::int64_t i = router.begin[e]; i < router.begin[e + 1]; ++i)
      (gates[e] != 0 ? on : off).push_back({i, gates[e]});
  if (!whole) off.clear();
  const int segments = router.shape.blocks;
  for (int s = 0; s < segments; ++s) {
    std::vector<Listed> want;
    for (const std::vector<Listed>* part : {&on, &off}) {
      const auto all = static_cast<std::int64_t>(part->size());
      want.insert(want.end(), part->begin() + segment_begin(all, segments, s),
                  part->begin() + segment_begin(all, segments, s + 1));
    }
    ASSERT_EQ(router.listed(s), want) << "segment " << s;
    ASSERT_LE(want.size(), static_cast<std::size_t>(router.lists.widest()));
  }
}

TEST(DecodeRoute, ChoosesAsInDoubleAndSharesOutWhatIsOn) {
  for (const RouteShape& shape : kShapes)
    for (RouteBy kind : kKinds)
      for (bool gated : {false, true})
        for (bool threshold : {false, true})
          for (std::int64_t active : {std::int64_t{0}, (shape.experts + 1) / 2, shape.experts}) {
            TestRouter router(shape, kind);
            if (threshold && (!router.has_scores() || active > 0)) continue;
            router.call.threshold = threshold;
            router.call.active = static_cast<int>(active);
            if (!gated) router.drop_scale();
            router.call.whole = gated;
            const Values gates = router.run(1);
            expect_choice(router, gates, router.name());
            expect_lists(router, gates, gated);
            EXPECT_EQ(router.run(1), gates);  // run to run, and what a launch leaves behind serves the next
          }
}

TEST(DecodeRoute, ATokensGatesDoNotDependOnItsCompanions) {
  for (RouteBy kind : kKinds) {
    TestRouter router({520, 1100, 132, 33, 77, 4}, kind);
    router.call.active = 9;
    const std::int64_t tokens = 5;
    const Values all = router.run(tokens);
    for (std::int64_t t = 0; t < tokens; ++t) {
      router.call.x = router.x.as<float>() + t * router.call.x_stride;
      router.call.first_token = t;
      const Values one = router.run(1);
      EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + t * 33))
          << router.name() << " token " << t;
    }
  }
}

TEST(DecodeRoute, EqualScoresGoToTheLowerIndexAndNanComesFirst) {
  TestRouter router({48, 70, 7, 9, 7, 0}, RouteBy::Linear);
  router.drop_scale();
  router.call.bias = nullptr;
  Values& rows = router.rows->values;
  for (std::int64_t e = 1; e < 9; ++e) std::copy_n(rows.begin(), 48, rows.begin() + e * 48);
  const auto on = [&](int active) {
    router.call.active = active;
    router.rows->upload();
    std::vector<int> out;
    const Values gates = router.run(1);
    for (int e = 0; e < 9; ++e)
      if (gates[static_cast<std::size_t>(e)] != 0) out.push_back(e);
    return out;
  };
  EXPECT_EQ(on(3), (std::vector<int>{0, 1, 2}));
  for (std::int64_t c = 0; c < 48; ++c) rows[static_cast<std::size_t>(7 * 48 + c)] = std::nan("");
  EXPECT_EQ(on(3), (std::vector<int>{0, 1, 7}));
  for (std::int64_t c = 0; c < 48; ++c) rows[static_cast<std::size_t>(4 * 48 + c)] = std::nan("");
  EXPECT_EQ(on(1), (std::vector<int>{4}));
  EXPECT_EQ(on(2), (std::vector<int>{4, 7}));
  std::fill(rows.begin(), rows.end(), 0.0);
  for (std::int64_t c = 0; c < 48; ++c) rows[static_cast<std::size_t>(48 + c)] = -0.0;  // equal to +0
  EXPECT_EQ(on(2), (std::vector<int>{0, 1}));
}

TEST(RoutedFfn, IsWithinItsBoundAndReadsWhatIsOn) {
  for (DType dtype : kWeightTypes)
    for (const RouteShape& shape : kShapes)
      for (Gating gating : {Gating::Silu, Gating::Drelu}) {
        RoutedFfnData ffn(dtype, shape, gating);
        const Values sparse = ffn.run(false);
        ffn.expect(sparse);
        const auto on = static_cast<unsigned long long>(ffn.neurons_on());
        const auto all = static_cast<unsigned long long>(shape.ffn);
        EXPECT_EQ(ffn.counts.up_rows, on);
        EXPECT_EQ(ffn.counts.down_rows, all - ffn.counts.zeros);
        EXPECT_TRUE(gating == Gating::Drelu ? ffn.counts.zeros > all - on : ffn.counts.zeros == all - on);
        EXPECT_EQ(ffn.run(false), sparse);
        const unsigned long long zeros = ffn.counts.zeros;
        EXPECT_EQ(ffn.run(true), sparse) << "reading what is off changes a bit";
        EXPECT_EQ(ffn.counts.up_rows, all);
        EXPECT_EQ(ffn.counts.down_rows, all);
        EXPECT_EQ(ffn.counts.zeros, zeros);
      }
}

TEST(RoutedFfn, NanInWhatIsNotReadChangesNoBit) {
  for (DType dtype : kWeightTypes)
    for (const RouteShape& shape : {kShapes[0], kShapes[2], kShapes[4]}) {
      RoutedFfnData ffn(dtype, shape, Gating::Silu);
      const Values want = ffn.run(false);
      ffn.poison();
      EXPECT_EQ(ffn.run(false), want);
    }
}

// One token through the kernels of many: the products and stand-ins of the same choice.
TEST(RoutedFfn, ManyTokensDropWhatIsOff) {
  for (DType dtype : kWeightTypes)
    for (const RouteShape& shape : kShapes) {
      RoutedFfnData ffn(dtype, shape, Gating::Silu);
      ffn.run(false);
      ffn.expect_prefill();
    }
}

}  // namespace
}  // namespace lacuna::cuda::test
