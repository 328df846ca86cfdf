// Schedules on GPUs with virtual ranks: every stash and boundary checked on the device, at any relative speed
// of the queues.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "parallel/plan/make_schedule.h"
#include "tests/support/cuda/cuda_fake_stage.h"
#include "tests/support/cuda/troubled_device.h"
#include "tests/support/cuda/virtual_ranks.h"

namespace lacuna {
namespace {

using test::CudaOutcome;
using test::Trouble;

struct Result {
  CudaOutcome all;
  std::vector<std::vector<DeviceCounters>> counters;  // by rank, after each step
};

Result run(const Schedule& schedule, int steps, std::size_t piece_words, const Trouble& trouble = {}) {
  Result out;
  out.all.stats.resize(schedule.ranks.size());
  out.counters.resize(schedule.ranks.size());
  std::mutex mutex;
  test::run_virtual(static_cast<int>(schedule.ranks.size()), [&](test::VirtualRank rank) {
    Trouble mine = trouble;
    mine.seed += static_cast<std::uint64_t>(rank.comm.rank()) * 7919;
    test::TroubledDevice device(rank.device, mine);
    const CudaOutcome got = test::run_cuda_fake(schedule, rank.comm, device, rank.device, steps, piece_words);
    const std::lock_guard lock(mutex);
    const auto me = static_cast<std::size_t>(rank.comm.rank());
    out.all.gradient = got.gradient, out.all.loss = got.loss, out.all.wrong_words = got.wrong_words;
    out.all.stats[me] = got.stats[0];
    out.counters[me] = got.after_step;
  });
  return out;
}

void expect_right(const Schedule& schedule, const Result& result, int steps) {
  const test::FakeOutcome serial = test::serial_outcome(schedule.stages(), schedule.micros, steps);
  EXPECT_EQ(result.all.wrong_words, 0u) << schedule.name;
  EXPECT_EQ(result.all.loss, serial.loss) << schedule.name;
  EXPECT_EQ(result.all.gradient, schedule.forward_only ? 0 : serial.gradient) << schedule.name;
}

// Bytes per slot: the largest piece a rank puts anywhere, all pieces being of equal size for a stage.
void expect_memory_of_table(const Schedule& schedule, const Result& result, std::size_t piece_words) {
  const auto largest = [&](int stage) {
    std::size_t words = 0;
    for (int piece = 0; piece < schedule.pieces; ++piece)
      words = std::max(words, piece_words + 8 * (static_cast<std::size_t>(stage * 3 + piece) % 4));
    return words * sizeof(std::uint64_t);
  };
  for (std::size_t r = 0; r < schedule.ranks.size(); ++r) {
    const RankTable& table = schedule.ranks[r];
    const ExecutorStats& stats = result.all.stats[r];
    EXPECT_LE(stats.peak_own_bytes, static_cast<std::size_t>(table.own_slots) * largest(static_cast<int>(r)));
    EXPECT_GE(stats.peak_own_bytes, static_cast<std::size_t>(table.own_slots) * piece_words * 8);
    const int evictor = static_cast<int>(schedule.ranks.size() - 1 - r);
    EXPECT_LE(stats.peak_guest_bytes, static_cast<std::size_t>(table.guest_slots) * largest(evictor));
    EXPECT_GE(stats.peak_guest_bytes, static_cast<std::size_t>(table.guest_slots) * piece_words * 8);
  }
}

TEST(CudaExecutor, EveryScheduleGivesTheResultOfTheHost) {
  constexpr std::size_t kWords = 1000;
  std::int64_t evictions = 0;
  for (const int pp : {1, 2, 4, 8}) {
    for (const int micros : {1, 8, 17}) {
      for (const char* bpipe : {"off", "tight", "loose"}) {
        for (const int pieces : {1, 3}) {
          const Schedule schedule = make_schedule("1f1b", pp, micros, bpipe, pieces);
          SCOPED_TRACE(fmt::format("{} pp {} micros {} pieces {}", schedule.name, pp, micros, pieces));
          const Result result = run(schedule, 2, kWords);
          expect_right(schedule, result, 2);
          expect_memory_of_table(schedule, result, kWords);
          for (const ExecutorStats& stats : result.all.stats) evictions += stats.evictions;
        }
      }
    }
  }
  EXPECT_GT(evictions, 200);
  for (const int pieces : {1, 2}) {
    const Schedule gpipe = make_schedule("gpipe", 4, 9, "tight", pieces);
    expect_right(gpipe, run(gpipe, 3, kWords), 3);
  }
}

TEST(CudaExecutor, EvaluationRunsForwardsAlone) {
  const Schedule schedule = make_forward_schedule(4, 7, 2);
  expect_right(schedule, run(schedule, 3, 1000), 3);
}

TEST(CudaExecutor, DelaysAnywhereChangeNothing) {
  constexpr std::size_t kWords = 100'000;  // copies of a length that matters
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Schedule schedule = make_schedule("1f1b", seed % 2 ? 4 : 8, 20, seed % 3 ? "tight" : "loose",
                                            1 + static_cast<int>(seed % 2));
    SCOPED_TRACE(fmt::format("{} seed {}", schedule.name, seed));
    expect_right(schedule, run(schedule, 4, kWords, {.seed = seed, .longest_ns = 300'000}), 4);
  }
}

// The test above can fail: a queue that does not wait for the others ruins the result.
TEST(CudaExecutor, AForgottenWaitOfAnyQueueShows) {
  struct Case {
    const char* what;
    std::function<bool(Queue)> forgets;
  };
  const Case cases[] = {{"compute", [](Queue q) { return q == kComputeQueue; }},
                        {"evictions", [](Queue q) { return q == kEvictQueue; }},
                        {"loads", [](Queue q) { return q == kLoadQueue; }},
                        {"transfers", [](Queue q) { return q > kLoadQueue; }}};
  const Schedule schedule = make_schedule("1f1b", 8, 20, "tight", 1);
  for (const Case& one : cases) {
    const Result result =
        run(schedule, 3, 100'000, {.seed = 5, .longest_ns = 300'000, .forgets_waits = one.forgets});
    const test::FakeOutcome serial = test::serial_outcome(8, 20, 3);
    EXPECT_TRUE(result.all.wrong_words > 0 || result.all.gradient != serial.gradient) << one.what;
  }
}

// A stage that meets its tensor-parallel neighbour in every action.
class MeetingStage final : public test::CudaFakeStage {
 public:
  MeetingStage(const Schedule& schedule, Device& device, Communicator& tp)
      : CudaFakeStage(schedule, device, 1000), tp_(tp), cell_(device, 64) {}
  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override {
    meet();
    CudaFakeStage::forward(stage, micro, input, output, stash);
  }
  void input_grad(int stage, int micro, const std::byte* output_grad, std::byte* input_grad,
                  StashPieces stash) override {
    meet();
    CudaFakeStage::input_grad(stage, micro, output_grad, input_grad, stash);
  }

 private:
  void meet() {
    if (rng_below(static_cast<std::uint64_t>(tp_.rank()), draws_++, 4) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    tp_.all_reduce_sum(cell_.data(), 8, DType::F32);
  }
  Communicator& tp_;
  DeviceBytes cell_;
  std::uint64_t draws_ = 0;
};

// While a rank waits for its neighbour in a collective, it goes on with the transfers that others wait for.
TEST(CudaExecutor, CollectivesInsideStagesDoNotHoldUpTransfers) {
  constexpr int kSteps = 20, kMicros = 8;
  const Schedule schedule = make_schedule("1f1b", 4, kMicros, "tight", 1);
  const test::FakeOutcome serial = test::serial_outcome(4, kMicros, kSteps);
  test::run_virtual(8, [&](test::VirtualRank rank) {
    const int me = rank.comm.rank();
    const auto tp = rank.comm.split(me / 2, me, "tp"), pp = rank.comm.split(me % 2, me, "pp");
    MeetingStage stage(schedule, rank.device, *tp);
    Progress progress;
    Executor executor(schedule, *pp, stage, progress, rank.device);
    for (int step = 0; step < kSteps; ++step) {
      stage.begin_step(step);
      executor.run();
    }
    const test::CudaFakeStage::Result mine = stage.result();
    std::uint64_t sums[2] = {mine.gradient, mine.wrong_words};
    pp->control().all_reduce_sum(sums, 2, DType::I64);
    EXPECT_EQ(sums[0], serial.gradient);
    EXPECT_EQ(sums[1], 0u);
    executor.close();
  });
}

TEST(CudaExecutor, SteadyStepsNeitherAllocateNorSynchronise) {
  const Schedule schedule = make_schedule("1f1b", 4, 12, "tight", 2);
  const Result result = run(schedule, 30, 1000);
  expect_right(schedule, result, 30);
  for (const std::vector<DeviceCounters>& rank : result.counters) {
    ASSERT_EQ(rank.size(), 30u);
    for (std::size_t step = 1; step < rank.size(); ++step) {
      EXPECT_EQ(rank[step].synchronisations, rank[0].synchronisations) << step;
      EXPECT_EQ(rank[step].allocations, rank[0].allocations) << step;
    }
  }
}

TEST(CudaDevice, TooMuchMemoryIsNoFit) {
  test::run_virtual(1, [](test::VirtualRank rank) {
    try {
      DeviceBytes(rank.device, std::size_t{1} << 50);
      FAIL() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::NoFit);
      EXPECT_NE(std::string(error.what()).find(" GiB wanted, "), std::string::npos) << error.what();
    }
    DeviceBytes enough(rank.device, 1 << 20);  // and the device still works
    EXPECT_NE(enough.data(), nullptr);
  });
}

TEST(CudaDevice, GpusComeInPciOrder) {
  const std::vector<GpuInfo> gpus = gpus_by_pci();
  ASSERT_FALSE(gpus.empty());
  for (std::size_t i = 1; i < gpus.size(); ++i) EXPECT_LT(gpus[i - 1].pci, gpus[i].pci);
  EXPECT_GE(gpus[0].capability, 80);
  EXPECT_GT(gpus[0].memory_bytes, std::size_t{1} << 30);
}

}  // namespace
}  // namespace lacuna
