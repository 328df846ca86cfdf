#include "launch/train_verbs/run_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "src/checkpoint/status_file.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

TEST(RunFolder, TheFirstFailureOfAJobThatHoldsTheFolderIsRecorded) {
  const test::TempFolder folder;
  TrainingJob job;
  job.out = folder.path() + "/run";
  {
    const RunLock lock = take_run_folder(job);
    write_status(job.out, {80, 4, "", "stopped on request, saved"});
  }
  record_failure(job, 69, 0, "no GPU");  // of a job that has not got it
  EXPECT_EQ(read_status(job.out).code, 80);
  const RunLock lock = take_run_folder(job);
  EXPECT_FALSE(has_status(job.out));
  job.holds_folder = true;
  record_failure(job, 69, 7, "rank 3: memory exhausted");
  record_failure(job, 75, 6, "rank 0: a peer is lost");
  const RunStatus status = read_status(job.out);
  EXPECT_EQ(status.code, 69);
  EXPECT_EQ(status.step, 7);
  EXPECT_EQ(status.checkpoint, "");
  EXPECT_EQ(status.message, "rank 3: memory exhausted");
}

}  // namespace
}  // namespace lacuna
