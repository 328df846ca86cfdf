// The trainer's small parts: numeric guard, options, TensorBoard records, the log after a resume.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"
#include "src/base/fields.h"
#include "src/base/file.h"
#include "src/model/cuda/ops.h"
#include "src/train/event_log.h"
#include "src/train/numeric_guard.h"
#include "src/train/options.h"
#include "src/train/parallel_context.h"
#include "src/train/tensorboard.h"
#include "tests/support/test_data.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                 kInf = std::numeric_limits<double>::infinity();

TEST(NumericGuard, SkipsBadStepsAndEndsTheRunAfterThreeInARow) {
  NumericGuard guard(3, 10);
  EXPECT_TRUE(guard.accept(0, 1.0, 2.0, ""));
  EXPECT_FALSE(guard.accept(1, kNan, 2.0, "x"));
  EXPECT_FALSE(guard.accept(2, 1.0, kInf, "x"));
  EXPECT_TRUE(guard.accept(3, 1.0, 2.0, ""));
  EXPECT_FALSE(guard.accept(4, kNan, kNan, "x"));
  EXPECT_FALSE(guard.accept(5, kNan, kNan, "x"));
  try {
    guard.accept(6, kNan, kNan, "stage 1: model.norm.weight");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 81);
    EXPECT_NE(std::string(error.what()).find("stage 1: model.norm.weight"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("3 steps skipped in a row"), std::string::npos);
  }
}

TEST(NumericGuard, CountsAThousandStepsAndSurvivesAResume) {
  NumericGuard guard(3, 4);
  for (std::int64_t step : {10, 500, 900, 1000}) EXPECT_FALSE(guard.accept(step, kNan, 1, ""));
  NumericGuard resumed(3, 4);
  resumed.from_state(guard.to_state());
  EXPECT_EQ(resumed.skipped(), 4);
  EXPECT_FALSE(resumed.accept(1400, kNan, 1, ""));  // step 10 is out of the last thousand
  EXPECT_THROW(resumed.accept(1450, kNan, 1, ""), Error);
}

TEST(ParallelContext, AutoIsTheCpuWhereNoGpuIsSeen) {
  ASSERT_EQ(on_cuda::device_count(), 0)
      << "label unit sees no GPU: run through ctest, or with CUDA_VISIBLE_DEVICES=";
  const auto world = single_rank();
  Progress progress;
  EXPECT_TRUE(ParallelContext(*world, {1, 1, 1}, progress, "auto").model_device.is_cpu());
  EXPECT_THROW(ParallelContext(*world, {1, 1, 1}, progress, "cuda"), Error);
}

TEST(Trainer, APoisonedWeightIsNamedAndTheUpdateSkipped) {
  const TrainOptions options = small_options(2, 1, 1);
  std::mutex mutex;
  std::vector<std::string> named;
  run_local(2, [&](Communicator& world, int) {
    Progress progress;
    ParallelContext context(world, {2, 1, 1}, progress);
    ModelRunner runner(context, options, small_model());
    runner.initialise(1);
    if (context.place.pp == 1)
      for (LocalParameter& p : runner.weights().all())
        if (p.spec.name == "model.layers.7.mlp.gate_proj.weight") p.weight.mul_(kNan);
    const StepNumbers numbers = runner.accumulate(MadeUpBatches(options, 37, 0).train(0), {});
    EXPECT_FALSE(std::isfinite(numbers.loss));
    const std::string bad = runner.first_bad_gradient();
    runner.drop_gradients();
    runner.close();
    const std::lock_guard lock(mutex);
    named.push_back(bad);
  });
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0], named[1]);
  EXPECT_NE(named[0].find("first bad gradient on rank"), std::string::npos) << named[0];
}

TEST(TrainOptions, EveryFieldComesBackFromItsIni) {
  TrainOptions options, read;
  int number = 3;
  for (FieldRef& field : fields_of(options)) {
    if (field.type == std::string("text"))
      field.set("a # b; 'c' \"d\" ü " + std::to_string(number++));
    else if (field.type == std::string("yes/no"))
      field.set("yes");
    else if (field.type == std::string("list"))
      field.set("4,5");
    else
      field.set(std::to_string(++number));
  }
  std::map<std::string, std::string> entries;
  for (const IniEntry& entry : read_ini(to_ini(fields_of(options), true), "test"))
    entries[entry.name] = entry.value;
  for (FieldRef& field : fields_of(read)) {
    ASSERT_TRUE(entries.count(field.name)) << field.name;
    field.set(entries[field.name]);
  }
  const std::vector<FieldRef> wanted = fields_of(options), got = fields_of(read);
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(got[i].get(), wanted[i].get()) << wanted[i].name;
}

TEST(TrainOptions, ReportsAllProblemsTogether) {
  TrainOptions options;
  options.pp = 3;
  options.dtype = "int8";
  options.global_batch = 7;
  options.micro_batch = 2;
  options.lr_schedule = "square";
  const std::vector<std::string> problems = options.complete_and_check(4);
  EXPECT_EQ(problems.size(), 4u);
  TrainOptions fine;
  fine.pp = 2;
  EXPECT_TRUE(fine.complete_and_check(4).empty());
  EXPECT_EQ(fine.dp, 2);
}

TEST(TrainOptions, SizesWhoseProductsDoNotFitAreRefusedFirst) {
  TrainOptions options;
  options.pp = options.tp = 2'000'000'000;  // their product is beyond 32 bits
  options.seq_len = options.micro_batch = options.global_batch = std::int64_t{1} << 62;
  const std::vector<std::string> problems = options.complete_and_check(1);
  EXPECT_EQ(problems.size(), 5u);
  EXPECT_EQ(problems.front(), "--pp is 2000000000, wanted at most 65536");
}

TEST(TrainOptions, EveryRangeIsChecked) {
  TrainOptions options;
  options.beta1 = 1;
  options.beta2 = -0.1;
  options.eps = options.weight_decay = options.lr_final_fraction = options.max_minutes = -1;
  options.keep_every = options.decay_steps = options.l1_warmup_steps = -1;
  options.eval_sequences = options.guard_in_a_row = 0;
  EXPECT_EQ(options.complete_and_check(1).size(), 11u);
}

TEST(TrainOptions, L1GrowsLinearly) {
  TrainOptions options;
  options.l1 = 2;
  EXPECT_EQ(options.l1_at(0), 2);
  options.l1_warmup_steps = 3;
  EXPECT_EQ(options.l1_at(0), 0.5);
  EXPECT_EQ(options.l1_at(2), 1.5);
  EXPECT_EQ(options.l1_at(3), 2);
}

TEST(TensorBoard, FramesRecordsWithMaskedCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // check value of CRC-32C
  TempFolder temp;
  {
    TensorBoardFile board(temp.path());
    board.scalar("train/loss", 7, 1.5);
    board.flush();
  }
  const std::string path = std::filesystem::directory_iterator(temp.path())->path().string();
  EXPECT_NE(path.find("events.out.tfevents."), std::string::npos);
  const std::string bytes = read_file(path, 4096);
  int records = 0;
  for (std::size_t at = 0; at < bytes.size(); ++records) {
    std::uint64_t length = 0;
    std::uint32_t crc = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    const std::uint32_t plain = crc32c(bytes.substr(at + 12, length));
    EXPECT_EQ(crc, ((plain >> 15) | (plain << 17)) + 0xa282ead8u);
    at += length + 16;
  }
  EXPECT_EQ(records, 2);
  EXPECT_NE(bytes.find("brain.Event:2"), std::string::npos);
  EXPECT_NE(bytes.find("train/loss"), std::string::npos);
}

TEST(EventLog, AfterAResumeEachStepStandsOnce) {
  TempFolder temp;
  const auto write = [&](std::int64_t first, std::int64_t last) {
    EventLog log(temp.path(), first, 10);
    for (std::int64_t step = first + 1; step <= last; ++step)
      log.write("train", step, {{"loss", kNan}, {"lr", 0.1}});
  };
  write(0, 5);
  write(3, 6);  // resumed from the checkpoint of step 3
  std::vector<std::string> lines;
  const std::string text = read_file(temp / "log.jsonl", 1 << 20);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 6);
  EXPECT_NE(text.find("\"loss\":\"nan\""), std::string::npos);
}

}  // namespace
}  // namespace lacuna::test
