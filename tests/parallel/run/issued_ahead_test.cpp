// An executor that issues a whole step ahead of its device, against the rules of
// parallel/plan/dependencies.h: nothing waits for more than they say.
#include "tests/parallel/run/issued_ahead.h"

#include <gtest/gtest.h>

#include "parallel/plan/make_schedule.h"

namespace lacuna {
namespace {

using test::Posting;
using test::Replay;

void expect_times_of_the_table(const Schedule& schedule, const Costs& costs, Posting posting) {
  const Replay got = test::replay(schedule, test::issue_ahead(schedule, posting), costs);
  ASSERT_FALSE(got.stuck);
  const EventTimes wanted = walk(schedule, costs);
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    const auto& spans = wanted.ranks[rank][static_cast<std::size_t>(Engine::Compute)];
    ASSERT_EQ(got.compute_ends[rank].size(), spans.size());
    for (std::size_t i = 0; i < spans.size(); ++i)
      ASSERT_LE(got.compute_ends[rank][i], spans[i].end + 1e-9) << "rank " << rank << ", action " << i;
  }
}

// Costs in sixteenths, so that sums are exact. Copies of both directions may run side by side, as their
// queues do.
TEST(IssuedAhead, NothingEndsLaterThanTheTableAllows) {
  for (int pp = 2; pp <= 8; ++pp)
    for (const int micros : {1, 2, 3, 8, 17})
      for (const char* kind : {"gpipe", "1f1b"})
        for (const char* bpipe : {"off", "tight", "loose"})
          for (const bool split : {false, true}) {
            const Schedule schedule = make_schedule(kind, pp, micros, bpipe, 2, split);
            SCOPED_TRACE(schedule.name + ", " + std::to_string(pp) + " ranks, " + std::to_string(micros));
            for (const Posting posting : {Posting::AtOnce, Posting::Together})
              expect_times_of_the_table(schedule, {.latency = 0.25, .duplex = true}, posting);
          }
}

// Why Executor::rehearse is there: where the first forward or backward makes the host wait for the device, a
// pipeline hangs, because a receive that was issued early waits for a peer that waits for this rank.
TEST(IssuedAhead, AHostThatWaitsForItsDeviceAtAFirstUseCanHang) {
  const Schedule schedule = make_schedule("1f1b", 2, 8, "off", 1);
  const auto issued = test::issue_ahead(schedule, Posting::AtOnce);
  EXPECT_FALSE(test::replay(schedule, issued, {}).stuck);
  EXPECT_TRUE(test::replay(schedule, issued, {}, {Op::Forward, Op::Backward}).stuck);
}

// What is not rehearsed: the reduction, after which a rank issues nothing more that others wait for; and a
// forward pass, where everybody waits in one direction.
TEST(IssuedAhead, AReductionOrAForwardPassHangsAtNoFirstUse) {
  for (int pp = 2; pp <= 8; ++pp)
    for (const int micros : {1, 2, 8, 17}) {
      const Schedule forward = make_forward_schedule(pp, micros, 1);
      EXPECT_FALSE(
          test::replay(forward, test::issue_ahead(forward, Posting::AtOnce), {}, {Op::Forward}).stuck)
          << pp << " ranks, " << micros;
      for (const char* kind : {"gpipe", "1f1b"})
        for (const char* bpipe : {"off", "tight"}) {
          const Schedule schedule = make_schedule(kind, pp, micros, bpipe, 1, true);
          EXPECT_FALSE(
              test::replay(schedule, test::issue_ahead(schedule, Posting::AtOnce), {}, {Op::Reduce}).stuck)
              << schedule.name << ", " << pp << " ranks, " << micros;
        }
    }
}

}  // namespace
}  // namespace lacuna
