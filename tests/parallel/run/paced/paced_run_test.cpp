// BPipe in time, on GPUs with copy engines of their own: what it costs against 1F1B, and what slow copies
// cost against the simulator's prediction. Needs two GPUs: half the stages on each, so that partners are
// apart.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>

#include "parallel/plan/make_schedule.h"
#include "parallel/plan/simulate.h"
#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/executor.h"
#include "tests/parallel/run/paced/paced_stage.h"
#include "tests/parallel/run/paced/slow_copies.h"
#include "tests/support/cuda/virtual_ranks.h"

namespace lacuna {
namespace {

using Clock = std::chrono::steady_clock;
using test::Pace;

constexpr int kSteps = 3;  // measured, after two others

// Median milliseconds of a step of the schedule over all ranks.
double step_ms(const Schedule& schedule, const Pace& pace, std::int64_t longer_ns) {
  double median = 0;
  test::run_virtual(static_cast<int>(schedule.ranks.size()), [&](test::VirtualRank rank) {
    test::SlowCopies device(rank.device, longer_ns);
    test::PacedStage stage(pace, schedule.pieces, rank.device);
    Progress progress;
    Executor executor(schedule, rank.comm, stage, progress, device);
    std::vector<double> times;
    for (int step = 0; step < kSteps + 2; ++step) {
      rank.host.barrier();
      const auto begin = Clock::now();
      executor.run();
      rank.device.finish(kComputeQueue);
      rank.host.barrier();
      if (step >= 2) times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    }
    executor.close();
    std::nth_element(times.begin(), times.begin() + kSteps / 2, times.end());
    if (rank.host.rank() == 0) median = times[kSteps / 2];
  });
  return median;
}

// Milliseconds of one stash copy between a pair, alone; and of a spin of `pace`'s forward.
struct Measured {
  double move_ms = 0, forward_ms = 0;
};
Measured measure(const Pace& pace) {
  Measured out;
  test::run_virtual(2, [&](test::VirtualRank rank) {
    auto window = rank.comm.open_window(pace.stash_bytes);
    DeviceBytes mine(rank.device, pace.stash_bytes);
    if (rank.comm.rank() == 0) {
      cudaEvent_t begin, end;
      LACUNA_CUDA_CALL(cudaEventCreate(&begin));
      LACUNA_CUDA_CALL(cudaEventCreate(&end));
      const auto timed = [&](Queue queue, const auto& work) {
        const auto stream = static_cast<cudaStream_t>(stream_of(rank.device, queue));
        std::vector<float> times(9);
        for (float& time : times) {
          LACUNA_CUDA_CALL(cudaEventRecord(begin, stream));
          work(stream);
          LACUNA_CUDA_CALL(cudaEventRecord(end, stream));
          rank.device.finish(queue);
          LACUNA_CUDA_CALL(cudaEventElapsedTime(&time, begin, end));
        }
        std::sort(times.begin(), times.end());
        return static_cast<double>(times[times.size() / 2]);
      };
      out.move_ms = timed(kEvictQueue, [&](cudaStream_t) {
        rank.device.copy(kEvictQueue, window->base(1), mine.data(), pace.stash_bytes);
      });
      out.forward_ms =
          timed(kComputeQueue, [&](cudaStream_t stream) { test::spin(pace.forward_ns, stream); });
      LACUNA_CUDA_CALL(cudaEventDestroy(begin));
      LACUNA_CUDA_CALL(cudaEventDestroy(end));
    }
    rank.comm.close_window(std::move(window));
  });
  return out;
}

Simulation predict(const Schedule& schedule, double move_over_forward) {
  return simulate(schedule, {.move = move_over_forward, .duplex = true});
}

class PacedRun : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_GE(gpus_by_pci().size(), 2u) << "the paced run needs two GPUs";
    measured_ = measure(pace_);
    std::printf("forward %.3f ms, stash %zu MiB moves in %.3f ms (%.0f GB/s)\n", measured_.forward_ms,
                pace_.stash_bytes >> 20, measured_.move_ms,
                static_cast<double>(pace_.stash_bytes) / measured_.move_ms / 1e6);
  }
  Pace pace_;
  Measured measured_;
};

TEST_F(PacedRun, BPipeCostsNothingAtTheSpeedOfTheLink) {
  std::printf(
      "| p | m | BPipe | pieces | 1F1B, ms | with BPipe, ms | cost |\n|---|---|---|---|---|---|---|\n");
  for (const int pp : {4, 8}) {
    const int micros = 6 * pp;
    const double plain = step_ms(make_schedule("1f1b", pp, micros, "off", 1), pace_, 0);
    for (const char* bpipe : {"tight", "loose"}) {
      for (const int pieces : {1, 4}) {
        const Schedule schedule = make_schedule("1f1b", pp, micros, bpipe, pieces);
        const double with = step_ms(schedule, pace_, 0);
        std::printf("| %d | %d | %s | %d | %.2f | %.2f | %+.2f %% |\n", pp, micros, bpipe, pieces, plain,
                    with, 100 * (with / plain - 1));
        // Each piece has marks of its own: four of them were seen to cost up to 1.2 %.
        EXPECT_LT(with, (pieces == 1 ? 1.01 : 1.02) * plain) << schedule.name << " of " << pp;
      }
    }
  }
}

// Copies of tau forwards: the copy itself and a spin for the rest.
TEST_F(PacedRun, SlowCopiesCostWhatTheSimulatorSays) {
  constexpr int kStages = 8, kMicros = 48;
  const Schedule base = make_schedule("1f1b", kStages, kMicros, "off", 1);
  const double plain = step_ms(base, pace_, 0);
  const double nominal = predict(base, 0).makespan;
  std::printf("1F1B: %.2f ms, %.2f forwards of %.3f ms; simulated %.0f\n", plain,
              plain / measured_.forward_ms, measured_.forward_ms, nominal);
  // The simulation has no latency; with virtual ranks a hop of the filling pipeline may cost another forward,
  // where two streams share a hardware queue.
  EXPECT_GT(plain / measured_.forward_ms, nominal);
  EXPECT_LT(plain / measured_.forward_ms, nominal + kStages);
  std::printf("| BPipe | tau in T_F | predicted | measured |\n|---|---|---|---|\n");
  for (const char* bpipe : {"tight", "loose"}) {
    for (const double tau : {1.0, 1.5, 2.0, 3.0, 4.0}) {
      const Schedule schedule = make_schedule("1f1b", kStages, kMicros, bpipe, 1);
      const double longer_ms = tau * measured_.forward_ms - measured_.move_ms;
      ASSERT_GT(longer_ms, 0);
      const double with = step_ms(schedule, pace_, static_cast<std::int64_t>(longer_ms * 1e6));
      const double predicted = predict(schedule, tau).makespan / nominal - 1;
      std::printf("| %s | %.1f | %+.2f %% | %+.2f %% |\n", bpipe, tau, 100 * predicted,
                  100 * (with / plain - 1));
      EXPECT_NEAR(with / plain - 1, predicted, 0.03) << bpipe << " " << tau;
    }
  }
}

}  // namespace
}  // namespace lacuna
