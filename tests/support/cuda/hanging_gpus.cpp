// hanging_gpus MODE DEADLINE_MS: a pipeline over NCCL under mpirun whose last rank goes wrong in step 2,
// watched as training is.
//   stop    it stops itself (SIGSTOP)
//   away    it issues its step no more and waits for a message that nobody sends
//   steady  nothing goes wrong
#include <signal.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/nccl/nccl.h"
#include "tests/support/cuda/cuda_fake_stage.h"
#include "tests/support/cuda/own_gpu.h"
#include "tests/support/mpi/watched_job.h"

namespace lacuna::test {
namespace {

void work(const WatchedRank& rank) {
  Communicator& world = rank.world;
  OwnGpu gpu(rank.pipeline);
  const auto pipeline = make_nccl_communicator(rank.pipeline, *gpu.device);
  pipeline->report_to(&rank.progress);
  const Schedule schedule = make_schedule("1f1b", world.size(), 8, "off", 1);
  CudaFakeStage stage(schedule, *gpu.device, 1000);
  Executor executor(schedule, *pipeline, stage, rank.progress, *gpu.device);
  executor.rehearse();
  stage.forget();
  for (int step = 0; step < 5; ++step) {
    const DeadlineScope scope(rank.progress, "step", rank.deadline);
    rank.progress.step = step;
    if (step == 2 && world.rank() == world.size() - 1) {
      if (rank.mode == "stop") raise(SIGSTOP);
      if (rank.mode == "away") rank.pipeline.barrier();
    }
    stage.begin_step(step);
    executor.run();
    gpu.device->finish(kComputeQueue);
  }
  LACUNA_CHECK(stage.result().wrong_words == 0, ErrorKind::Internal, "wrong words");
  executor.close();
  gpu.meet(world);
}

}  // namespace
}  // namespace lacuna::test

int main(int argc, char** argv) {
  return lacuna::test::watched_main(argc, argv, lacuna::test::work);
}
