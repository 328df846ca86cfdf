// hanging_ranks MODE DEADLINE_MS: a pipeline under mpirun whose rank 1 goes wrong, watched as training is.
//   stop    rank 1 stops itself (SIGSTOP) in the forward of micro-batch 3 of step 2
//   sleep   rank 1 sleeps there for a minute
//   away    rank 1 leaves the pipeline and waits in a collective that nobody else reaches
//   fail    rank 1 throws an error there, and main ends the job with its code
//   kill    rank 1 is killed there (SIGKILL), as by a lack of memory
//   steady  nothing goes wrong, but one step is slow and a checkpoint is far longer than a step's deadline
#include <signal.h>

#include <string>
#include <thread>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/executor.h"
#include "tests/parallel/run/fake_stage.h"
#include "tests/support/mpi/watched_job.h"

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

void work(const WatchedRank& rank) {
  const Schedule schedule = make_schedule("1f1b", rank.world.size(), 8, "tight", 1);
  TroubledStage stage(rank.world.size(), rank.pipeline, rank.mode, rank.deadline);
  Executor executor(schedule, rank.pipeline, stage, rank.progress);
  for (int step = 0; step < 5; ++step) {
    const DeadlineScope scope(rank.progress, "step", rank.deadline);
    rank.progress.step = step;
    stage.begin(step);
    executor.run();
    if (step == 3) {
      const DeadlineScope saving(rank.progress, "checkpoint", 10 * rank.deadline);
      std::this_thread::sleep_for(rank.mode == "steady" ? 3 * rank.deadline : milliseconds(0));
    }
  }
  executor.close();
}

}  // namespace
}  // namespace lacuna::test

int main(int argc, char** argv) {
  return lacuna::test::watched_main(argc, argv, lacuna::test::work);
}
