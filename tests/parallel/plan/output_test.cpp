// What people and other programs see: grid, trace, bubble, bytes.
#include <gtest/gtest.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/plan/memory.h"
#include "parallel/plan/simulate.h"
#include "parallel/plan/text.h"
#include "parallel/plan/trace.h"
#include "src/base/error.h"
#include "src/base/json.h"

namespace lacuna {
namespace {

TEST(Grid, OfOneFOneB) {
  const Schedule s = make_schedule("1f1b", 3, 4, "off", 1);
  EXPECT_EQ(grid(s, simulate(s, {}).times),
            (std::vector<std::string>{"rank 0 | F0 F1 F2             B0--- F3 B1---    B2---    B3---",
                                      "rank 1 |    F0 F1       B0--- F2 B1--- F3 B2---    B3---",
                                      "rank 2 |       F0 B0--- F1 B1--- F2 B2--- F3 B3---"}));
}
TEST(Grid, ShowsCopiesAndIsCutToItsWidth) {
  const Schedule s = make_schedule("1f1b", 4, 5, "tight", 2);
  const auto lines = grid(s, simulate(s, {.move = 1}).times, 60);
  ASSERT_EQ(lines.size(), 5u);  // rank 0 evicts
  EXPECT_TRUE(lines[1].starts_with("copy   |")) << lines[1];
  EXPECT_NE(lines[1].find("E2"), std::string::npos);
  for (const std::string& line : lines) EXPECT_LE(line.size(), 60u);
  EXPECT_EQ(lines[0].back(), '>');
}

TEST(Trace, IsJsonWithEveryAction) {
  const Schedule s = make_schedule("1f1b", 4, 6, "tight", 1);
  const Json trace = parse_json(trace_json(s, simulate(s, {}).times, 10), "trace");
  std::size_t actions = 0, spans = 0;
  for (const RankTable& table : s.ranks)
    for (const auto& row : table.rows) actions += row.size();
  for (const Json& event : trace.at("traceEvents")) spans += event.at("ph") == "X" ? 1 : 0;
  EXPECT_EQ(spans, actions);
  for (const Json& event : trace.at("traceEvents"))
    if (event.at("name") == "3B5") {
      EXPECT_EQ(event.at("dur").get<double>(), 20);
    }
}

TEST(Simulate, KnowsTheBubbleOfUnequalCosts) {
  const Simulation one = simulate(make_schedule("1f1b", 1, 5, "off", 1), {});
  EXPECT_EQ(one.bubble, 0);
  EXPECT_EQ(one.makespan, 15);
  const Simulation run = simulate(make_schedule("gpipe", 4, 8, "off", 1), {.forward = 2, .backward = 3});
  EXPECT_DOUBLE_EQ(run.makespan, 55);
  EXPECT_DOUBLE_EQ(run.bubble, 3.0 / 11);
  // Free transfers against slow ones: a chain of 3 hops each way in fill and drain, by hand for one
  // micro-batch.
  EXPECT_DOUBLE_EQ(simulate(make_schedule("gpipe", 4, 1, "off", 1), {.latency = 0.25}).makespan,
                   12 + 6 * 0.25);
}

TEST(Simulate, SlowCopiesCostTime) {
  const Schedule plain = make_schedule("1f1b", 8, 48, "off", 1),
                 tight = make_schedule("1f1b", 8, 48, "tight", 1);
  const Costs slow{.move = 3};
  EXPECT_GT(simulate(tight, slow).makespan, 1.05 * simulate(plain, slow).makespan);
  Costs duplex = slow;
  duplex.duplex = true;
  EXPECT_LE(simulate(tight, duplex).makespan, simulate(tight, slow).makespan);
}

TEST(Simulate, RefusesADeadlock) {
  Schedule s = make_schedule("1f1b", 2, 2, "off", 1);
  auto& row = s.ranks[1].row(Engine::Transfer);
  std::rotate(row.begin(), row.begin() + 2, row.end());
  EXPECT_THROW(simulate(s, {}), Error);
}

TEST(Memory, ASlotHoldsTheLargestPieceThatIsPutIntoIt) {
  const Schedule s = make_schedule("1f1b", 4, 8, "tight", 2);
  std::vector<RankSizes> sizes(4);
  for (std::size_t r = 0; r < 4; ++r) sizes[r] = {100 + r, 200, 300, {10 + r, 20 + r}, 7};
  const auto bytes = memory_by_class(s, sizes);
  EXPECT_EQ(bytes[0].own_stashes, 3u * (10 + 20));  // K = 3 stashes of two pieces
  EXPECT_EQ(bytes[0].one_stash, 30u);
  EXPECT_EQ(bytes[3].own_stashes, 13u + 23);
  EXPECT_EQ(s.ranks[3].guest_slots, 4);
  EXPECT_EQ(bytes[3].guest_area, 2u * (10 + 20));  // the partner's pieces, rank 0's sizes
  EXPECT_EQ(bytes[0].guest_area, 0u);
  EXPECT_EQ(bytes[1].boundaries, 2u * (2 + 2) * 7);
  EXPECT_EQ(bytes[2].total(), 102u + 200 + 300 + bytes[2].own_stashes + bytes[2].boundaries);
  EXPECT_THROW(memory_by_class(s, {}), Error);
}

}  // namespace
}  // namespace lacuna
