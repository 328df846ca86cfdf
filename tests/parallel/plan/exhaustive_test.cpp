// Every pipeline depth to 16 and every number of micro-batches to 64: legal, in time, within the peak law.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/plan/check.h"
#include "parallel/plan/make_schedule.h"
#include "parallel/plan/simulate.h"

namespace lacuna {
namespace {

constexpr int kDepths = 16, kMicros = 64;

// With equal stages and free transfers every schedule here takes as long as the fill, the work and the drain.
double ideal(int pp, int micros, const Costs& costs) {
  return (micros + pp - 1) * (costs.forward + costs.backward);
}

void expect_ideal(const Schedule& schedule, const Costs& costs) {
  const int pp = static_cast<int>(schedule.ranks.size()), micros = schedule.micros;
  const Simulation run = simulate(schedule, costs);
  ASSERT_DOUBLE_EQ(run.makespan, ideal(pp, micros, costs))
      << schedule.name << " pp " << pp << " m " << micros;
  ASSERT_NEAR(run.bubble, (pp - 1.0) / (micros + pp - 1), 1e-12);
}

TEST(Exhaustive, GpipeAndOneFOneBAreLegalAndTakeTheIdealTime) {
  for (int pp = 1; pp <= kDepths; ++pp) {
    for (int micros = 1; micros <= kMicros; ++micros) {
      const Schedule gpipe = make_schedule("gpipe", pp, micros, "off", 1);  // proves it
      expect_ideal(gpipe, {});
      const Schedule flush = make_schedule("1f1b", pp, micros, "off", 1);
      expect_ideal(flush, {});
      for (int rank = 0; rank < pp; ++rank) {
        ASSERT_EQ(peak_stashes(gpipe, rank), micros);
        ASSERT_EQ(peak_stashes(flush, rank), std::min(micros, pp - rank));
      }
    }
  }
}

// K = ceil((pp+2)/2); L_s = min(m, pp-s). Every stage holds at most K; a pair that fits stays as it is; an
// evictor holds K; an acceptor that is used holds more than its own, and K once the pipeline is full for
// long.
void expect_peak_law(const Schedule& schedule, bool tight) {
  const int pp = static_cast<int>(schedule.ranks.size()), micros = schedule.micros;
  const int cap = (pp + 3) / 2 + (tight ? 0 : 1);
  for (int rank = 0; rank < pp; ++rank) {
    const int own = std::min(micros, pp - rank), pair = std::max(own, std::min(micros, rank + 1));
    const double peak = peak_stashes(schedule, rank);
    const std::string where = schedule.name + " pp " + std::to_string(pp) + " m " + std::to_string(micros) +
                              " rank " + std::to_string(rank);
    ASSERT_LE(peak, cap) << where;
    if (pair <= cap) {
      ASSERT_EQ(peak, own) << where;
    } else if (rank < pp / 2) {
      ASSERT_EQ(peak, cap) << where;
    } else {
      ASSERT_GT(peak, own) << where;
    }
    if (tight && pair > cap && micros >= 2 * pp) {
      ASSERT_EQ(peak, cap) << where;
    }
  }
}

void expect_bpipe(const std::string& bpipe, int pieces) {
  const Costs at_speed{.forward = 1, .backward = 2, .move = 1};  // moving a stash takes as long as a forward
  for (int pp = 1; pp <= kDepths; ++pp) {
    for (int micros = 1; micros <= kMicros; ++micros) {
      const Schedule schedule = make_schedule("1f1b", pp, micros, bpipe, pieces);
      expect_peak_law(schedule, bpipe == "tight");
      expect_ideal(schedule, at_speed);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Exhaustive, TightBpipeCostsNoTimeAndKeepsThePeakLaw) {
  expect_bpipe("tight", 1);
}
TEST(Exhaustive, TightBpipeInHalves) {
  expect_bpipe("tight", 2);
}
TEST(Exhaustive, LooseBpipeCostsNoTimeAndKeepsThePeakLaw) {
  expect_bpipe("loose", 1);
}
TEST(Exhaustive, LooseBpipeInHalves) {
  expect_bpipe("loose", 2);
}

// The table is fixed, so start times are monotone in the costs; these are other ratios and other speeds.
void expect_no_slower(const Schedule& plain, const Schedule& balanced) {
  for (const double backward : {1.0, 1.5, 3.0})
    for (const double move : {0.0, 0.3, 1.0})
      for (const double latency : {0.0, 0.05}) {
        const Costs costs{.forward = 1, .backward = backward, .move = move, .latency = latency};
        ASSERT_LE(simulate(balanced, costs).makespan, simulate(plain, costs).makespan + 1e-9)
            << balanced.name << " pieces " << balanced.pieces << " pp " << plain.ranks.size() << " m "
            << plain.micros << " backward " << backward << " move " << move << " latency " << latency;
      }
}
TEST(Exhaustive, OtherCostsUpToTheSpeedOfAForward) {
  for (const int pp : {4, 7, 10, 13, 16})
    for (const int micros : {1, pp - 1, pp, pp + 1, 2 * pp, 48}) {
      const Schedule plain = make_schedule("1f1b", pp, micros, "off", 1);
      for (const char* bpipe : {"tight", "loose"})
        for (const int pieces : {1, 3})
          expect_no_slower(plain, make_schedule("1f1b", pp, micros, bpipe, pieces));
    }
}

// The drain passes on input gradients alone. With BPipe, whose decisions know a backward as one action or as
// two, stashes move as often and cost as little.
TEST(Exhaustive, SplitBackwardsDrainFaster) {
  const Costs uneven{.forward = 1, .backward = 2.5, .input_grad = 1.25, .weight_grad = 1.25};
  for (int pp = 1; pp <= kDepths; ++pp)
    for (int micros = 1; micros <= kMicros; ++micros)
      for (const char* kind : {"gpipe", "1f1b"}) {
        const Schedule split = make_schedule(kind, pp, micros, "off", 1, true);
        for (const Costs& costs : {Costs{}, uneven}) {
          const double ideal =
              micros * (costs.forward + costs.backward) + (pp - 1) * (costs.forward + costs.backward / 2);
          ASSERT_DOUBLE_EQ(simulate(split, costs).makespan, ideal)
              << split.name << " " << pp << " " << micros;
        }
        for (int rank = 0; rank < pp; ++rank)
          ASSERT_EQ(peak_stashes(split, rank), kind[0] == 'g' ? micros : std::min(micros, pp - rank));
      }
}

TEST(Exhaustive, BpipeOfSplitBackwardsCostsNoTime) {
  const Costs at_speed{.forward = 1, .backward = 2, .move = 1};
  for (int pp = 1; pp <= kDepths; ++pp)
    for (int micros = 1; micros <= kMicros; ++micros)
      for (const char* bpipe : {"tight", "loose"})
        for (const int pieces : {1, 2}) {
          const Schedule schedule = make_schedule("1f1b", pp, micros, bpipe, pieces, true);
          expect_peak_law(schedule, std::string(bpipe) == "tight");
          ASSERT_LE(simulate(schedule, at_speed).makespan, 3 * micros + 2 * (pp - 1) + 1e-9)
              << schedule.name << " pp " << pp << " m " << micros << " pieces " << pieces;
          if (testing::Test::HasFatalFailure()) return;
        }
}

TEST(Exhaustive, TheGoldenCaseOfEightStages) {
  const Schedule schedule = make_schedule("1f1b", 8, 48, "tight", 1);
  const Simulation run = simulate(schedule, {});
  EXPECT_EQ(run.peak_stashes, (std::vector<double>{5, 5, 5, 5, 4, 5, 5, 5}));
  EXPECT_GT(run.evictions, 48);
  const Simulation loose = simulate(make_schedule("1f1b", 8, 48, "loose", 1), {});
  EXPECT_LT(loose.evictions, run.evictions);  // one slot more, less traffic
}

// How slow copies may be before they cost time (backward = 2 forwards): 1.5 forwards a stash at K, 2 at K +
// 1, 3 at K + 1 when evictions and loads run side by side.
TEST(Exhaustive, SlowerCopiesThatStillCostNothing) {
  for (const int pp : {6, 8, 12, 16}) {
    const double ideal_time = ideal(pp, 48, {});
    const Schedule tight = make_schedule("1f1b", pp, 48, "tight", 1),
                   loose = make_schedule("1f1b", pp, 48, "loose", 1);
    EXPECT_DOUBLE_EQ(simulate(tight, {.move = 1.5}).makespan, ideal_time) << pp;
    EXPECT_DOUBLE_EQ(simulate(loose, {.move = 3, .duplex = true}).makespan, ideal_time) << pp;
    EXPECT_GT(simulate(tight, {.move = 2}).makespan, 1.01 * ideal_time) << pp;
  }
}

TEST(Exhaustive, ForwardOnlyKeepsOneStash) {
  for (int pp = 1; pp <= kDepths; ++pp) {
    for (int micros = 1; micros <= kMicros; ++micros) {
      const Schedule schedule = make_forward_schedule(pp, micros, 2);
      ASSERT_DOUBLE_EQ(simulate(schedule, {}).makespan, micros + pp - 1);
      for (int rank = 0; rank < pp; ++rank) ASSERT_EQ(peak_stashes(schedule, rank), 1);
    }
  }
}

}  // namespace
}  // namespace lacuna
