// Passes, checker and simulator on orders that no generator makes yet: several stages a rank, V placement,
// split backward. They must carry them without change.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/plan/check.h"
#include "parallel/plan/make_schedule.h"
#include "parallel/plan/passes/passes.h"
#include "parallel/plan/simulate.h"
#include "parallel/plan/text.h"
#include "src/base/error.h"
#include "tests/parallel/plan/shadow_run.h"

namespace lacuna {
namespace {

// Interleaved 1F1B (Narayanan et al., arXiv 2104.04473): micro-batches in groups of `ranks`, chunk after
// chunk.
std::string interleaved_csv(int ranks, int chunks, int micros) {
  const int total = chunks * micros;
  std::string text;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto cell = [&](int k, bool forward) {
      const int chunk = k / ranks % chunks, micro = k / (ranks * chunks) * ranks + k % ranks;
      const int stage = (forward ? chunk : chunks - 1 - chunk) * ranks + rank;
      text += std::to_string(stage) + (forward ? "F" : "B") + std::to_string(micro) + ",";
    };
    int f = 0, b = 0;
    const int ahead = std::min(total, (ranks - rank - 1) * 2 + (chunks - 1) * ranks);
    while (f < ahead) cell(f++, true);
    while (f < total) cell(f++, true), cell(b++, false);
    while (b < total) cell(b++, false);
    text += "\n";
  }
  return text;
}

Schedule finish(Schedule schedule, int pieces, bool balance) {
  schedule.pieces = pieces;
  if (balance) balance_pairs(schedule, tight_cap(schedule));
  add_transfers(schedule);
  assign_slots(schedule);
  return schedule;
}

TEST(OtherOrders, InterleavedIsLegalAndBpipeFlattensItAtNoCost) {
  for (const int ranks : {4, 6, 8}) {
    const int chunks = 2, micros = 2 * ranks;
    const Schedule order = read_compute_csv(interleaved_csv(ranks, chunks, micros), "interleaved");
    const Schedule plain = finish(order, 1, false), balanced = finish(order, 1, true);
    EXPECT_EQ(violations(plain), std::vector<std::string>{});
    EXPECT_EQ(violations(balanced), std::vector<std::string>{});
    EXPECT_EQ(test::shadow_run(balanced, 3), "");
    // A chunk is half a stage: costs and stashes count in halves.
    const Costs costs{.forward = 0.5, .backward = 1, .move = 0.5};
    const Simulation before = simulate(plain, costs), after = simulate(balanced, costs);
    EXPECT_DOUBLE_EQ(before.makespan, 3.0 * micros + 3.0 * (ranks - 1) / chunks);
    EXPECT_LE(after.makespan, before.makespan + 1e-9) << ranks;
    const auto highest = [](const Simulation& run) {
      return *std::max_element(run.peak_stashes.begin(), run.peak_stashes.end());
    };
    EXPECT_EQ(highest(before), 3 * ranks - 1) << ranks;
    EXPECT_LE(highest(after), tight_cap(order));
    EXPECT_LT(highest(after), highest(before));
  }
}

// A V: rank r holds stages r and 2·ranks-1-r; the turn needs no transfer. Backwards split in two.
TEST(OtherOrders, SplitBackwardsOnAV) {
  const Schedule order = read_compute_csv(
      "0F0,0F1,3F0,3I0,3W0,3F1,0I0,0W0,3I1,3W1,0I1,0W1\n"
      "1F0,2F0,1F1,2F1,2I0,2W0,1I0,2I1,1W0,2W1,1I1,1W1\n",
      "v");
  EXPECT_EQ(order.rank_of_stage, (std::vector<int>{0, 1, 1, 0}));
  const Schedule s = finish(order, 2, false);
  EXPECT_EQ(violations(s), std::vector<std::string>{});
  for (std::uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(test::shadow_run(s, seed), "");
  // A WeightGrad holds its stash until it has run: the two micro-batches of stage 1 overlap, those of 0 too.
  EXPECT_EQ(simulate(s, {}).peak_stashes, (std::vector<double>{3, 4}));
  Schedule wrong = order;
  auto& row = wrong.ranks[1].row(Engine::Compute);
  std::swap(row[0], row[1]);  // stage 2 before stage 1 made its input
  const auto found = violations(finish(wrong, 2, false));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front(), "rank 1, compute 0, 2F0: stands before stage 1 made its input");
  wrong = order;
  std::swap(wrong.ranks[1].row(Engine::Compute)[4], wrong.ranks[1].row(Engine::Compute)[5]);
  EXPECT_EQ(violations(finish(wrong, 1, false)).front(),
            "rank 1, compute 4, 2W0: stands before its input gradient");
}

TEST(OtherOrders, ADescendingBackwardIsReadButNotLegal) {
  const Schedule s = finish(read_compute_csv("0F0,0F1,0B1,0B0\n", "bfs"), 1, false);
  EXPECT_EQ(violations(s),
            std::vector<std::string>{"rank 0, compute 3, 0B0: adds to the gradients after micro-batch 1"});
}

TEST(ComputeCsv, RoundTripsAndReadsWhatPytorchWrites) {
  for (const char* kind : {"gpipe", "1f1b"}) {
    const Schedule s = make_schedule(kind, 5, 7, "off", 1);
    const Schedule back = read_compute_csv(compute_csv(s), kind);
    EXPECT_EQ(compute_csv(back), compute_csv(s));
    for (std::size_t r = 0; r < s.ranks.size(); ++r)
      for (std::size_t i = 0; i < s.ranks[r].row(Engine::Compute).size(); ++i) {
        Action a = s.ranks[r].row(Engine::Compute)[i];
        a.slots.clear();
        EXPECT_EQ(back.ranks[r].row(Engine::Compute)[i], a);
      }
  }
  EXPECT_EQ(compute_csv(make_schedule("1f1b", 2, 2, "off", 1)), "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
  EXPECT_EQ(compute_csv(read_compute_csv("0F0,,(0F1;0B0)OVERLAP_F_B,,0B1,0REDUCE_GRAD\r\n", "x")),
            "0F0,0F1,0B0,0B1\n");
}

TEST(ComputeCsv, SaysWhereItIsWrong) {
  const auto message = [](const char* text) -> std::string {
    try {
      read_compute_csv(text, "a.csv");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::BadInput);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("0F0,0B0\n1F0,1X0\n"),
            "a.csv, line 2, cell 2: '1X0', wanted one of F I W B after the stage");
  EXPECT_EQ(message("0F0,0F\n"),
            "a.csv, line 1, cell 2: '', wanted a stage, one of F I W B, a micro-batch, e.g. 2F0");
  EXPECT_EQ(message("0F0x\n"), "a.csv, line 1, cell 1: '0F0x' does not end after the micro-batch");
  EXPECT_EQ(message("0F-1\n"),
            "a.csv, line 1, cell 1: '-1', wanted a stage, one of F I W B, a micro-batch, e.g. 2F0");
  EXPECT_EQ(message("0F99999999999999999999\n").substr(0, 24), "a.csv, line 1, cell 1: '");
  EXPECT_EQ(message("0F0\n0F1\n"), "a.csv: stage 0 is on ranks 0 and 1");
  EXPECT_EQ(message("0F0\n2F0\n"), "a.csv: no action of stage 1, but of stage 2");
  EXPECT_EQ(message("\n,,\n"), "a.csv: no action");
}

}  // namespace
}  // namespace lacuna
