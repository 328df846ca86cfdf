// Schedules over processes: rendezvous sends and stashes that move through shared memory.
#include <gtest/gtest.h>

#include "parallel/plan/make_schedule.h"
#include "tests/parallel/run/fake_stage.h"
#include "tests/support/mpi/mpi_world.h"

namespace lacuna {
namespace {

using test::FakeOutcome;
using test::FakeSizes;
using test::mpi_world;

void run_on(Communicator& pipeline, int micros) {
  struct Kind {
    const char *schedule, *bpipe;
  };
  const FakeOutcome serial = test::serial_outcome(pipeline.size(), micros, 2);
  for (const Kind kind :
       {Kind{"gpipe", "off"}, Kind{"1f1b", "off"}, Kind{"1f1b", "tight"}, Kind{"1f1b", "loose"}}) {
    for (const int pieces : {1, 2}) {
      const Schedule schedule = make_schedule(kind.schedule, pipeline.size(), micros, kind.bpipe, pieces);
      SCOPED_TRACE(fmt::format("{} of {} ranks, {} micros, {} pieces", schedule.name, pipeline.size(), micros,
                               pieces));
      const FakeOutcome outcome = test::run_fake(schedule, pipeline, 2);
      EXPECT_EQ(outcome.gradient, serial.gradient);
      EXPECT_TRUE(pipeline.rank() < pipeline.size() - 1 || outcome.loss == serial.loss);
      const RankTable& table = schedule.ranks[static_cast<std::size_t>(pipeline.rank())];
      const std::size_t piece = FakeSizes{}.piece(0, 0);
      EXPECT_EQ(outcome.stats[0].peak_own_bytes, static_cast<std::size_t>(table.own_slots) * piece);
      EXPECT_EQ(outcome.stats[0].peak_guest_bytes, static_cast<std::size_t>(table.guest_slots) * piece);
    }
  }
}

TEST(MpiExecutor, AllRanksAsOnePipeline) {
  for (const int micros : {1, 3, 8, 24}) run_on(mpi_world(), micros);
}

// Two pipelines side by side, as tensor or data parallel ranks have them.
TEST(MpiExecutor, PipelinesSideBySide) {
  auto pipeline = mpi_world().split(mpi_world().rank() % 2, mpi_world().rank(), "pp");
  for (const int micros : {2, 9}) run_on(*pipeline, micros);
}

TEST(MpiExecutor, EvaluationRunsForwardsAlone) {
  const int stages = mpi_world().size();
  const FakeOutcome outcome = test::run_fake(make_forward_schedule(stages, 6, 1), mpi_world(), 2);
  if (mpi_world().rank() == stages - 1) {
    EXPECT_EQ(outcome.loss, test::serial_outcome(stages, 6, 2).loss);
  }
}

}  // namespace
}  // namespace lacuna
