// A steady step on a GPU: the host waits once, at its end; nothing is taken from the driver; every step asks
// the allocator for the same.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "parallel/run/local_communicator.h"
#include "src/model/cuda/ops.h"
#include "src/train/allocation_check.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

struct StepCounts {
  std::int64_t waits = 0, driver_calls = 0;  // of the host for the device; of the allocator
  std::int64_t opened = 0;                   // memory, queues and marks of the device
  std::vector<on_cuda::AllocationEvent> trace;
};

// From here on libtorch throws where it would wait for the device: our own counters do not see its waits.
void refuse_waits_of_libtorch(bool on) {
  using c10::cuda::SyncDebugMode;
  c10::cuda::warning_state().set_sync_debug_mode(on ? SyncDebugMode::L_ERROR : SyncDebugMode::L_DISABLED);
}

// What `steps` steps of a rank counted, each; after step `evaluate_after` there is an evaluation. Without
// one, libtorch may not wait from the third step on.
std::vector<StepCounts> count_steps(Communicator& world, const TrainOptions& options, int steps,
                                    int evaluate_after = -1) {
  Progress progress;
  ParallelContext context(world, {options.pp, options.tp, options.dp}, progress, options.device);
  ModelRunner runner(context, options, small_model());
  runner.initialise(1);
  const MadeUpBatches batches(options, small_model().vocab, context.place.dp);
  const auto waits = [&] {
    return on_cuda::synchronisations() + context.device->counters().synchronisations;
  };
  std::vector<StepCounts> out;
  for (int step = 0; step < steps; ++step) {
    if (step == 2 && evaluate_after < 0) refuse_waits_of_libtorch(true);
    const std::int64_t waited = waits(), opened = context.device->counters().allocations;
    const std::int64_t calls = on_cuda::allocator_bytes(context.model_device.index()).driver_calls;
    on_cuda::record_allocations();
    const StepNumbers numbers = runner.accumulate(batches.train(step), {});
    runner.update(1e-3, 1, numbers.grad_norm, step + 1);
    out.push_back({waits() - waited,
                   on_cuda::allocator_bytes(context.model_device.index()).driver_calls - calls,
                   context.device->counters().allocations - opened, on_cuda::take_allocations()});
    if (step == evaluate_after) runner.evaluate(batches.validation(2));
  }
  refuse_waits_of_libtorch(false);
  runner.close();
  context.close();
  return out;
}

TrainOptions gpu_options(int pp) {
  TrainOptions options = small_options(pp, 1, 1);
  options.device = "cuda";
  options.dtype = "bf16";
  return options;
}

TEST(SteadyStep, AWaitOfLibtorchIsSeen) {
  const at::Tensor one = at::ones({1}, at::kCUDA);
  refuse_waits_of_libtorch(true);
  EXPECT_THROW(one.item<float>(), c10::Error);
  EXPECT_THROW(one.to(at::kCPU), c10::Error);
  refuse_waits_of_libtorch(false);
  EXPECT_EQ(one.item<float>(), 1);
}

TEST(SteadyStep, WaitsOnceAndAllocatesNothing) {
  const auto world = single_rank();
  const std::vector<StepCounts> steps = count_steps(*world, gpu_options(1), 6);
  for (std::size_t step = 2; step < steps.size(); ++step) {
    EXPECT_EQ(steps[step].waits, 1) << "step " << step;
    EXPECT_EQ(steps[step].driver_calls, 0) << "step " << step;
    EXPECT_EQ(steps[step].opened, 0) << "step " << step;
    EXPECT_EQ(first_difference(steps[2].trace, steps[step].trace), "") << "step " << step;
  }
  EXPECT_FALSE(steps[2].trace.empty());
}

TEST(SteadyStep, AnEvaluationInBetweenChangesNothing) {
  const auto world = single_rank();
  const std::vector<StepCounts> steps = count_steps(*world, gpu_options(1), 6, 3);
  for (std::size_t step = 3; step < steps.size(); ++step)
    EXPECT_EQ(first_difference(steps[2].trace, steps[step].trace), "") << "step " << step;
}

TEST(SteadyStep, OfAPipelineWithMovedStashesToo) {
  TrainOptions options = gpu_options(4);
  options.bpipe = "tight";
  run_local(4, [&](Communicator& world, int) {
    const std::vector<StepCounts> steps = count_steps(world, options, 5);
    for (std::size_t step = 3; step < steps.size(); ++step) {
      EXPECT_EQ(steps[step].waits, 1) << "step " << step;
      EXPECT_EQ(steps[step].opened, 0) << "step " << step;
      EXPECT_EQ(first_difference(steps[2].trace, steps[step].trace), "") << "step " << step;
    }
  });
}

TEST(SteadyStep, ADifferenceIsNamed) {
  using on_cuda::AllocatorCall;
  const std::vector<on_cuda::AllocationEvent> a{{AllocatorCall::Allocate, 512}, {AllocatorCall::Free, 512}},
      b{{AllocatorCall::Allocate, 512}, {AllocatorCall::FromDriver, 1024}};
  EXPECT_EQ(first_difference(a, a), "");
  EXPECT_EQ(first_difference(a, b),
            "call 1 to the allocator takes from the driver 1024 bytes, where it frees 512 bytes");
  EXPECT_EQ(first_difference(a, {a[0]}), "call 1 to the allocator ends, where it frees 512 bytes");
}

}  // namespace
}  // namespace lacuna::test
