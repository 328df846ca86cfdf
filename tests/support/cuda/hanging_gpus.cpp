// hanging_gpus MODE DEADLINE_MS: a pipeline over NCCL under mpirun whose last rank goes wrong in step 2,
// watched as training is.
//   stop    it stops itself (SIGSTOP)
//   away    it issues its step no more and waits for a message that nobody sends
//   steady  nothing goes wrong
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/mpi/mpi_session.h"
#include "parallel/run/nccl/nccl.h"
#include "src/train/watchdog.h"
#include "tests/support/cuda/cuda_fake_stage.h"
#include "tests/support/cuda/own_gpu.h"

namespace lacuna::test {
namespace {

using std::chrono::milliseconds;

void work(MpiSession& session, const std::string& mode, milliseconds deadline) {
  Communicator& world = session.world();
  auto control = world.split(0, world.rank(), "pp");
  Progress progress;
  control->report_to(&progress);
  WatchdogOptions options;
  options.rank = world.rank();
  options.poll = milliseconds(100);
  const Watchdog watchdog(progress, options);
  OwnGpu gpu(*control);
  const auto pipeline = make_nccl_communicator(*control, *gpu.device);
  pipeline->report_to(&progress);
  const Schedule schedule = make_schedule("1f1b", world.size(), 8, "off", 1);
  CudaFakeStage stage(schedule, *gpu.device, 1000);
  Executor executor(schedule, *pipeline, stage, progress, *gpu.device);
  executor.rehearse();
  stage.forget();
  for (int step = 0; step < 5; ++step) {
    const DeadlineScope scope(progress, "step", deadline);
    progress.step = step;
    if (step == 2 && world.rank() == world.size() - 1) {
      if (mode == "stop") raise(SIGSTOP);
      if (mode == "away") control->barrier();
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
  if (argc < 3) return 64;
  lacuna::MpiSession session;
  try {
    lacuna::test::work(session, argv[1], lacuna::test::milliseconds(std::atoi(argv[2])));
  } catch (const lacuna::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.abort(error.exit_code());
  }
  session.finalize();
  return 0;
}
