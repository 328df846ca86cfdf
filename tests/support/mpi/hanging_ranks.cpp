// hanging_ranks MODE DEADLINE_MS: a pipeline under mpirun whose rank 1 goes wrong, watched as training is.
//   stop    rank 1 stops itself (SIGSTOP) in the forward of micro-batch 3 of step 2
//   sleep   rank 1 sleeps there for a minute
//   away    rank 1 leaves the pipeline and waits in a collective that nobody else reaches
//   fail    rank 1 throws an error there, and main ends the job with its code
//   kill    rank 1 is killed there (SIGKILL), as by a lack of memory
//   steady  nothing goes wrong, but one step is slow and a checkpoint is far longer than a step's deadline
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/executor.h"
#include "parallel/run/mpi/mpi_session.h"
#include "src/train/watchdog.h"
#include "tests/parallel/run/fake_stage.h"

namespace lacuna::test {
namespace {

using std::chrono::milliseconds;

class TroubledStage : public FakeStage {
 public:
  TroubledStage(int stages, Communicator& comm, std::string mode, milliseconds deadline)
      : FakeStage(stages, 1, {}), comm_(comm), mode_(std::move(mode)), deadline_(deadline) {}
  void begin(int step) {
    now_ = step;
    begin_step(step);
  }
  void forward(int stage, int micro, const std::byte* input, std::byte* output, StashPieces stash) override {
    if (comm_.rank() == 1 && now_ == 2 && micro == 3) trouble();
    FakeStage::forward(stage, micro, input, output, stash);
  }

 private:
  void trouble() {
    if (mode_ == "stop") raise(SIGSTOP);
    if (mode_ == "sleep") std::this_thread::sleep_for(std::chrono::minutes(1));
    if (mode_ == "away") comm_.barrier();
    if (mode_ == "fail") fail(ErrorKind::Numeric, "loss is not a number");
    if (mode_ == "kill") raise(SIGKILL);
    if (mode_ == "steady") std::this_thread::sleep_for(deadline_ / 2);
  }
  Communicator& comm_;
  std::string mode_;
  milliseconds deadline_;
  int now_ = 0;
};

void work(MpiSession& session, const std::string& mode, milliseconds deadline) {
  Communicator& world = session.world();
  auto pipeline = world.split(0, world.rank(), "pp");
  Progress progress;
  pipeline->report_to(&progress);
  WatchdogOptions options;
  options.rank = world.rank();
  options.poll = milliseconds(100);
  const Watchdog watchdog(progress, options);
  const Schedule schedule = make_schedule("1f1b", world.size(), 8, "tight", 1);
  TroubledStage stage(world.size(), *pipeline, mode, deadline);
  Executor executor(schedule, *pipeline, stage, progress);
  for (int step = 0; step < 5; ++step) {
    const DeadlineScope scope(progress, "step", deadline);
    progress.step = step;
    stage.begin(step);
    executor.run();
    if (step == 3) {
      const DeadlineScope saving(progress, "checkpoint", 10 * deadline);
      std::this_thread::sleep_for(mode == "steady" ? 3 * deadline : milliseconds(0));
    }
  }
  executor.close();
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
