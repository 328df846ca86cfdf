// The checker against wrong tables: what was deleted, duplicated or misnumbered is always found; a table with
// actions swapped is either refused or really works, as a run on imaginary memory shows.
#include <gtest/gtest.h>

#include <functional>

#include "parallel/plan/check.h"
#include "parallel/plan/make_schedule.h"
#include "parallel/plan/text.h"
#include "src/base/rng.h"
#include "tests/parallel/plan/shadow_run.h"

namespace lacuna {
namespace {

struct Case {
  const char *kind, *bpipe;
  int pp, micros, pieces;
};
constexpr Case kCases[] = {
    {"gpipe", "off", 1, 3, 1},   {"gpipe", "off", 3, 4, 2},  {"1f1b", "off", 2, 5, 1},
    {"1f1b", "off", 4, 3, 1},    {"1f1b", "off", 5, 9, 2},   {"1f1b", "tight", 4, 9, 1},
    {"1f1b", "tight", 5, 10, 1}, {"1f1b", "tight", 6, 8, 2}, {"1f1b", "loose", 6, 14, 1},
    {"1f1b", "tight", 8, 11, 3},
};
Schedule make(const Case& c) {
  return make_schedule(c.kind, c.pp, c.micros, c.bpipe, c.pieces);
}

// Calls mutate(row, index) on a fresh copy of the table for every action and expects a violation each time.
void expect_all_caught(
    const char* what, const std::function<bool(const Schedule&, std::vector<Action>&, std::size_t)>& mutate) {
  int mutants = 0;
  for (const Case& c : kCases) {
    const Schedule legal = make(c);
    for (std::size_t rank = 0; rank < legal.ranks.size(); ++rank) {
      for (std::size_t e = 0; e < kEngines; ++e) {
        for (std::size_t i = 0; i < legal.ranks[rank].rows[e].size(); ++i) {
          Schedule mutant = legal;
          if (!mutate(legal, mutant.ranks[rank].rows[e], i)) continue;
          ++mutants;
          ASSERT_FALSE(violations(mutant).empty())
              << what << ": " << legal.name << " pp " << c.pp << " m " << c.micros << " rank " << rank << " "
              << name_of(static_cast<Engine>(e)) << " " << i << " " << to_text(legal.ranks[rank].rows[e][i]);
        }
      }
    }
  }
  EXPECT_GT(mutants, 100) << what;
}

TEST(Mutation, DeletedActionsAreCaught) {
  expect_all_caught("deleted", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    row.erase(row.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  });
}
TEST(Mutation, DuplicatedActionsAreCaughtAnywhereInTheRow) {
  expect_all_caught("duplicated", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    const Action copy = row[i];
    row.insert(row.begin() + static_cast<std::ptrdiff_t>(i), copy);
    return true;
  });
  expect_all_caught("duplicated at the end", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    const Action copy = row[i];
    row.push_back(copy);
    return true;
  });
}
TEST(Mutation, WrongNumbersAreCaught) {
  expect_all_caught("micro", [](const Schedule& s, std::vector<Action>& row, std::size_t i) {
    row[i].micro = row[i].op == Op::Reduce ? 0 : (row[i].micro + 1) % s.micros;
    return true;
  });
  expect_all_caught("micro out of range", [](const Schedule& s, std::vector<Action>& row, std::size_t i) {
    row[i].micro = row[i].micro % 2 ? s.micros : -2;
    return true;
  });
  expect_all_caught("stage", [](const Schedule& s, std::vector<Action>& row, std::size_t i) {
    if (s.stages() > 1) row[i].stage = (row[i].stage + 1) % s.stages();
    return s.stages() > 1;
  });
  expect_all_caught("op", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    constexpr Op kOther[] = {Op::Backward,     Op::WeightGrad,  Op::InputGrad,   Op::Forward,
                             Op::Forward,      Op::RecvForward, Op::SendForward, Op::RecvBackward,
                             Op::SendBackward, Op::Load,        Op::Evict};
    row[i].op = kOther[static_cast<std::size_t>(row[i].op)];
    return true;
  });
}
TEST(Mutation, WrongPiecesAndSlotsAreCaught) {
  expect_all_caught("piece", [](const Schedule& s, std::vector<Action>& row, std::size_t i) {
    if (engine_of(row[i].op) != Engine::Copy) return false;
    row[i].piece = s.pieces > 1 ? (row[i].piece + 1) % s.pieces : 1;
    return true;
  });
  expect_all_caught("guest", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    if (engine_of(row[i].op) != Engine::Copy) return false;
    row[i].guest += 1;
    return true;
  });
  expect_all_caught("slot", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    if (engine_of(row[i].op) == Engine::Transfer || row[i].op == Op::Reduce) return false;
    row[i].slots.back() += 1;
    return true;
  });
  expect_all_caught("slot count", [](const Schedule&, std::vector<Action>& row, std::size_t i) {
    row[i].slots.push_back(0);
    return true;
  });
}

TEST(Mutation, OneSlotOrBufferLessIsCaught) {
  int mutants = 0;
  for (const Case& c : kCases) {
    const Schedule legal = make(c);
    for (std::size_t rank = 0; rank < legal.ranks.size(); ++rank) {
      for (int RankTable::*count : {&RankTable::own_slots, &RankTable::guest_slots, &RankTable::recv_buffers,
                                    &RankTable::send_buffers}) {
        if (legal.ranks[rank].*count == 0) continue;
        Schedule mutant = legal;
        --(mutant.ranks[rank].*count);
        EXPECT_FALSE(violations(mutant).empty()) << legal.name << " rank " << rank;
        ++mutants;
      }
      const RankTable& table = legal.ranks[rank];
      if (table.cap_slots == 0 || table.own_slots + table.guest_slots < table.cap_slots) continue;
      Schedule mutant = legal;
      --mutant.ranks[rank].cap_slots;
      EXPECT_FALSE(violations(mutant).empty()) << legal.name << " rank " << rank;
    }
  }
  EXPECT_GT(mutants, 60);
}

TEST(Mutation, TheGuestAreaBelongsToOneEvictor) {
  Schedule schedule = make_schedule("1f1b", 8, 20, "tight", 1);
  schedule.ranks[1].partner = schedule.ranks[0].partner;
  const auto found = violations(schedule);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front(), "rank 7: guest area shared by ranks 0 and 1");
}

// Swaps within a row: the checker may accept them, then they must work.
TEST(Mutation, SwappedActionsAreRefusedOrWork) {
  int refused = 0, accepted = 0;
  const std::uint64_t key = rng_key(7, "swaps");
  std::uint64_t draws = 0;
  for (const Case& c : kCases) {
    const Schedule legal = make(c);
    for (int trial = 0; trial < 60; ++trial) {
      Schedule mutant = legal;
      auto& rank = mutant.ranks[rng_below(key, draws++, mutant.ranks.size())];
      auto& row = rank.rows[rng_below(key, draws++, kEngines)];
      if (row.size() < 2) continue;
      const std::size_t i = rng_below(key, draws++, row.size() - 1);
      const std::size_t j = trial % 3 == 0 ? rng_below(key, draws++, row.size()) : i + 1;
      if (row[i] == row[j]) continue;
      std::swap(row[i], row[j]);
      if (!violations(mutant).empty()) {
        ++refused;
        continue;
      }
      ++accepted;
      for (std::uint64_t seed = 0; seed < 4; ++seed)
        ASSERT_EQ(test::shadow_run(mutant, seed), "") << legal.name << " pp " << c.pp << " m " << c.micros;
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(accepted, 30);
}

TEST(Mutation, LegalTablesWorkInAnyOrder) {
  for (const Case& c : kCases)
    for (std::uint64_t seed = 0; seed < 8; ++seed)
      ASSERT_EQ(test::shadow_run(make(c), seed, seed % 2 == 1), "")
          << c.kind << c.bpipe << " pp " << c.pp << " m " << c.micros;
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    ASSERT_EQ(test::shadow_run(make_forward_schedule(4, 7, 2), seed), "");
}

// What the lines say.
TEST(Violations, NameRankRowIndexAndAction) {
  const auto first = [](const Schedule& schedule) { return violations(schedule).front(); };
  const Schedule legal = make_schedule("1f1b", 4, 6, "tight", 1);
  Schedule s = legal;
  s.ranks[2].row(Engine::Compute).erase(s.ranks[2].row(Engine::Compute).begin() + 3);
  EXPECT_EQ(first(s), "rank 2, compute 5, 2B2: stands before its forward");
  EXPECT_EQ(violations(s).back(), "rank 2, compute: 2F2 is missing");
  s = legal;
  std::swap(s.ranks[3].row(Engine::Compute)[0], s.ranks[3].row(Engine::Compute)[1]);
  EXPECT_EQ(first(s), "rank 3, compute 0, 3B0: stands before its forward");
  s = legal;
  s.ranks[0].row(Engine::Copy).pop_back();
  EXPECT_NE(first(s).find("is never loaded"), std::string::npos) << first(s);
  s = legal;
  s.ranks[1].row(Engine::Transfer)[0].slots[0] = 2;
  EXPECT_EQ(first(s), "rank 1, transfer 0, 1RF0: boundary buffer 2 of 2");
  s = legal;
  s.rank_of_stage[1] = 9;
  EXPECT_EQ(first(s), "stage 1: on rank 9, of 4 ranks");
  s = legal;
  auto& row = s.ranks[0].row(Engine::Compute);
  std::swap(row[row.size() - 2], row[row.size() - 3]);
  EXPECT_NE(first(s).find("adds to the gradients after micro-batch 5"), std::string::npos) << first(s);
}

TEST(Violations, ADeadlockNamesWhoWaitsForWhom) {
  Schedule s = make_schedule("1f1b", 2, 2, "off", 1);
  // Rank 0 wants the gradient of micro-batch 0 before it has sent its activation.
  auto& row = s.ranks[0].row(Engine::Compute);
  ASSERT_EQ(to_text(row[1]), "0F1");
  auto& transfers = s.ranks[1].row(Engine::Transfer);
  std::rotate(transfers.begin(), transfers.begin() + 2, transfers.end());
  const auto found = violations(s);
  ASSERT_FALSE(found.empty());
  EXPECT_NE(found.front().find("deadlock: "), std::string::npos) << found.front();
}

}  // namespace
}  // namespace lacuna
