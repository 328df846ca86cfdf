#include "parallel/run/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/local_communicator.h"
#include "tests/parallel/run/fake_stage.h"

namespace lacuna {
namespace {

using namespace std::chrono_literals;
using test::FakeOutcome;
using test::FakeSizes;
using test::FakeStage;

// All ranks' outcome of a schedule over threads; stats by rank.
FakeOutcome run_threads(const Schedule& schedule, int steps, FakeSizes sizes = {}) {
  FakeOutcome all;
  all.stats.resize(schedule.ranks.size());
  std::mutex mutex;
  run_local(
      static_cast<int>(schedule.ranks.size()),
      [&](Communicator& world, int rank) {
        const FakeOutcome mine = test::run_fake(schedule, world, steps, sizes);
        const std::lock_guard lock(mutex);
        all.gradient = mine.gradient, all.loss = mine.loss;
        all.stats[static_cast<std::size_t>(rank)] = mine.stats[0];
      },
      30s);
  return all;
}

// The bytes that were touched are the bytes of the table, and every eviction of the table took place.
void expect_memory_of_table(const Schedule& schedule, const FakeOutcome& outcome) {
  const std::size_t piece = FakeSizes{}.piece(0, 0);
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    const RankTable& table = schedule.ranks[r];
    const ExecutorStats& stats = outcome.stats[r];
    EXPECT_EQ(stats.peak_own_bytes, static_cast<std::size_t>(table.own_slots) * piece)
        << schedule.name << " " << r;
    EXPECT_EQ(stats.peak_guest_bytes, static_cast<std::size_t>(table.guest_slots) * piece)
        << schedule.name << " " << r;
    const auto& copies = table.row(Engine::Copy);
    EXPECT_EQ(stats.evictions,
              std::count_if(copies.begin(), copies.end(), [](const Action& a) { return a.op == Op::Evict; }));
  }
}

struct Kind {
  const char *schedule, *bpipe;
};
constexpr Kind kKinds[] = {
    {"gpipe", "off"}, {"1f1b", "off"}, {"1f1b", "tight"}, {"1f1b", "loose"}, {"gpipe", "tight"}};

TEST(Executor, EveryScheduleGivesTheSameResultInTheMemoryOfItsTable) {
  std::int64_t evictions = 0;
  for (int pp = 1; pp <= 8; ++pp) {
    for (const int micros : {1, 2, 3, 5, 8, 9, 16, 24}) {
      const FakeOutcome serial = test::serial_outcome(pp, micros, 2);
      for (const Kind kind : kKinds) {
        for (const int pieces : {1, 2}) {
          const Schedule schedule = make_schedule(kind.schedule, pp, micros, kind.bpipe, pieces);
          SCOPED_TRACE(fmt::format("{} pp {} micros {} pieces {}", schedule.name, pp, micros, pieces));
          const FakeOutcome outcome = run_threads(schedule, 2);
          EXPECT_TRUE(outcome == serial);
          expect_memory_of_table(schedule, outcome);
          for (const ExecutorStats& stats : outcome.stats) evictions += stats.evictions;
        }
      }
    }
  }
  EXPECT_GT(evictions, 1000);  // stashes did travel
}

// Bytes that were ever asked for.
class CountingDevice final : public Device {
 public:
  std::size_t asked = 0;
  std::byte* allocate(std::size_t bytes) override {
    asked += bytes;
    return host_.allocate(bytes);
  }
  void release(std::byte* data) noexcept override { host_.release(data); }
  Queue open_queue() override { return host_.open_queue(); }
  Mark mark(Queue queue) override { return host_.mark(queue); }
  void wait(Queue queue, Mark mark) override { host_.wait(queue, mark); }
  void recycle_marks() override { host_.recycle_marks(); }
  void copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) override {
    host_.copy(queue, to, from, bytes);
  }
  void finish(Queue queue) override { host_.finish(queue); }
  DeviceCounters counters() const override { return host_.counters(); }

 private:
  HostDevice host_;
};

TEST(Executor, AForwardPassUsesTheStashesOfItsLender) {
  const Schedule steps = make_schedule("1f1b", 1, 3, "off", 2), pass = make_forward_schedule(1, 5, 2);
  const auto world = single_rank();
  Progress progress;
  CountingDevice device;
  FakeStage stage(1, 2, {});
  Executor step(steps, *world, stage, progress, device);
  EXPECT_GT(device.asked, 0u);
  const std::size_t before = device.asked;
  Executor evaluation(pass, *world, stage, progress, device, &step);
  EXPECT_EQ(device.asked, before);
  for (int i = 0; i < 3; ++i) {
    stage.begin_step(i);
    step.run();
    if (i == 0) evaluation.run();
  }
  stage.losses.clear();
  FakeStage alone(1, 2, {});
  Executor plain(steps, *world, alone, progress, device);
  EXPECT_GT(device.asked, before);
  for (int i = 0; i < 3; ++i) {
    alone.begin_step(i);
    plain.run();
  }
  EXPECT_EQ(stage.gradients, alone.gradients);
}

TEST(Executor, PiecesMayDifferInSize) {
  const FakeOutcome serial = test::serial_outcome(6, 13, 3);
  for (const Kind kind : kKinds) {
    const Schedule schedule = make_schedule(kind.schedule, 6, 13, kind.bpipe, 3);
    EXPECT_TRUE(run_threads(schedule, 3, {.uneven = true}) == serial) << schedule.name;
  }
}

// Backward as two actions: the stash stays, rewritten, between them.
TEST(Executor, InputAndWeightGradientsMayStandApart) {
  Schedule schedule = make_schedule("1f1b", 4, 9, "tight", 2);
  for (RankTable& table : schedule.ranks) {
    std::vector<Action> row;
    for (const Action& action : table.row(Engine::Compute)) {
      row.push_back(action);
      if (action.op != Op::Backward) continue;
      row.back().op = Op::InputGrad;
      row.push_back(action);
      row.back().op = Op::WeightGrad;
    }
    table.row(Engine::Compute) = row;
  }
  EXPECT_TRUE(run_threads(schedule, 2) == test::serial_outcome(4, 9, 2));
}

TEST(Executor, EvaluationRunsForwardsAlone) {
  for (const int pp : {1, 3, 4}) {
    const Schedule schedule = make_forward_schedule(pp, 7, 2);
    const FakeOutcome outcome = run_threads(schedule, 2);
    EXPECT_EQ(outcome.loss, test::serial_outcome(pp, 7, 2).loss);
    EXPECT_EQ(outcome.gradient, 0u);
    expect_memory_of_table(schedule, outcome);
  }
}

TEST(Executor, ReducesEachStageOnceAStep) {
  const Schedule schedule = make_schedule("1f1b", 3, 4, "off", 1);
  run_local(
      3,
      [&](Communicator& world, int rank) {
        FakeStage stage(3, 1, {});
        Progress progress;
        Executor executor(schedule, world, stage, progress);
        executor.run();
        EXPECT_EQ(stage.reductions, (std::map<int, int>{{rank, 1}}));
        executor.run();
        EXPECT_EQ(stage.reductions, (std::map<int, int>{{rank, 2}}));
        EXPECT_STRNE(progress.last, "");
        executor.close();
      },
      30s);
}

TEST(Executor, RehearsesTwoMicroBatchesOfEachStageWithoutItsPeers) {
  const Schedule schedule = make_schedule("1f1b", 8, 12, "tight", 2);
  const FakeOutcome serial = test::serial_outcome(8, 12, 1);
  run_local(
      8,
      [&](Communicator& world, int rank) {
        FakeStage stage(8, 2, {});
        Progress progress;
        Executor executor(schedule, world, stage, progress);
        if (rank % 2 == 1) executor.rehearse();  // nobody is needed for it
        EXPECT_EQ(stage.gradients.size(), rank % 2 == 1 ? 1u : 0u);
        EXPECT_EQ(stage.losses.size(), rank == 7 ? 2u : 0u);
        EXPECT_EQ(stage.reductions.size(), 0u);
        stage.gradients.clear();
        executor.run();
        std::uint64_t sum = test::mix(stage.gradients[rank], static_cast<std::uint64_t>(rank));
        world.all_reduce_sum(&sum, 1, DType::I64);
        EXPECT_EQ(sum, serial.gradient);
        executor.close();
      },
      30s);
}

std::string error_of(const Schedule& schedule) {
  try {
    run_threads(schedule, 1);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Internal);
    return error.what();
  }
  return "";
}

// Tables that the checker would refuse do not get through here either.
TEST(Executor, NoticesWrongTables) {
  const Schedule good = make_schedule("1f1b", 8, 24, "tight", 1);
  {
    Schedule wrong = good;  // loads what another micro-batch left at the partner
    auto& copies = wrong.ranks[0].row(Engine::Copy);
    auto load = std::find_if(copies.begin(), copies.end(), [](const Action& a) { return a.op == Op::Load; });
    ASSERT_NE(load, copies.end());
    load->guest = (load->guest + 1) % wrong.ranks[7].guest_slots;
    const std::string text = error_of(wrong);
    EXPECT_NE(text.find("guest slot, which holds piece"), std::string::npos) << text;
  }
  {
    Schedule wrong = good;  // a backward that looks into the wrong slot
    for (Action& action : wrong.ranks[2].row(Engine::Compute)) {
      if (action.op != Op::Backward || action.micro != 3) continue;
      action.slots[0] = (action.slots[0] + 1) % wrong.ranks[2].own_slots;
    }
    EXPECT_NE(error_of(wrong), "");
  }
  {
    Schedule wrong = good;
    wrong.ranks.pop_back();
    run_local(
        8,
        [&](Communicator& world, int) {
          FakeStage stage(8, 1, {});
          Progress progress;
          try {
            Executor executor(wrong, world, stage, progress);
            FAIL() << "nothing was thrown";
          } catch (const Error& error) {
            EXPECT_STREQ(error.what(), "schedule 1f1b+bpipe(tight): for 7 ranks, 'world' has 8");
          }
        },
        30s);
  }
}

class BreakingStage : public FakeStage {
 public:
  using FakeStage::FakeStage;
  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override {
    if (stage == 2 && micro == 3) fail(ErrorKind::Numeric, "no number");
    FakeStage::forward(stage, micro, input, output, stash);
  }
};

TEST(Executor, AFailingStageEndsAllRanksAndSaysWhere) {
  const Schedule schedule = make_schedule("1f1b", 4, 8, "off", 1);
  try {
    run_local(
        4,
        [&](Communicator& world, int) {
          BreakingStage stage(4, 1, {});
          Progress progress;
          Executor executor(schedule, world, stage, progress);
          executor.run();
        },
        30s);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Numeric);
    EXPECT_STREQ(error.what(), "no number (while forward of micro-batch 3 on stage 2)");
  }
}

}  // namespace
}  // namespace lacuna
