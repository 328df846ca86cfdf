#include "src/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/error.h"
#include "src/data/sample_order.h"
#include "tests/support/test_data.h"

namespace lacuna {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(SampleOrder, EveryEpochIsAPermutation) {
  for (const std::int64_t windows : {1, 2, 3, 4, 5, 16, 17, 255, 1000, 4097}) {
    const SampleOrder order(windows, 7);
    for (const std::int64_t epoch : {0, 1, 5}) {
      std::vector<bool> seen(static_cast<std::size_t>(windows));
      for (std::int64_t i = 0; i < windows; ++i) {
        const std::int64_t window = order.window(epoch * windows + i);
        ASSERT_GE(window, 0);
        ASSERT_LT(window, windows);
        EXPECT_FALSE(seen[static_cast<std::size_t>(window)]) << windows << " " << i;
        seen[static_cast<std::size_t>(window)] = true;
      }
    }
  }
}

TEST(SampleOrder, EpochsAndSeedsDifferAndMix) {
  constexpr std::int64_t windows = 10'000;
  const SampleOrder order(windows, 1), other(windows, 2);
  int same_epoch = 0, same_seed = 0, neighbours = 0;
  double displacement = 0;
  for (std::int64_t i = 0; i < windows; ++i) {
    same_epoch += order.window(i) == order.window(windows + i);
    same_seed += order.window(i) == other.window(i);
    neighbours += i > 0 && order.window(i) == order.window(i - 1) + 1;
    displacement += std::abs(static_cast<double>(order.window(i) - i));
  }
  // A random permutation has one fixed point on average; 12 or more have a chance below 1e-8.
  EXPECT_LT(same_epoch, 12);
  EXPECT_LT(same_seed, 12);
  EXPECT_LT(neighbours, 12);
  // The mean displacement of a random permutation is n/3, its standard deviation here about 0.0024 n.
  EXPECT_NEAR(displacement / windows, windows / 3.0, 0.02 * windows);
}

TEST(SampleOrder, IsDeterministic) {
  const SampleOrder order(1'000'003, 42);
  Ids first;
  for (std::int64_t i = 0; i < 5; ++i) first.push_back(static_cast<std::int32_t>(order.window(i)));
  const SampleOrder again(1'000'003, 42);
  for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(again.window(i), first[static_cast<std::size_t>(i)]);
}

class LoaderTest : public testing::Test {
 protected:
  // Tokens 0, 1, 2, ... in documents of 10.
  std::unique_ptr<TokenFile> corpus(std::int64_t tokens) {
    const std::string path = folder_ / fmt::format("{}.h5", tokens);
    TokenFileWriter writer(path, {.vocab_size = 60'000});
    for (std::int32_t i = 0; i < tokens; ++i) {
      writer.add(&i, 1);
      if (i % 10 == 9) writer.end_document();
    }
    writer.finish();
    return std::make_unique<TokenFile>(path);
  }
  static std::string refusal(const TokenFile& file, const LoaderOptions& options, ErrorKind kind) {
    try {
      Loader loader(file, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    return "(no error)";
  }
  test::TempFolder folder_;
};

TEST_F(LoaderTest, WindowsAndTargets) {
  const auto file = corpus(1000);
  const Loader loader(*file, {.seq_len = 16, .global_batch = 4, .micro_batch = 2});
  EXPECT_EQ(loader.train_windows(), 62);  // (1000 - 1) / 16
  EXPECT_EQ(loader.micro_batches(), 2);
  const Batch batch = loader.train(0, 1);
  ASSERT_EQ(batch.tokens.size(), 32u);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(batch.targets[i], batch.tokens[i] + 1);
    EXPECT_EQ(batch.tokens[i] % 16, static_cast<std::int32_t>(i % 16));
  }
  EXPECT_EQ(batch.tokens[0] / 16, loader.window_of(2));
  EXPECT_EQ(batch.tokens[16] / 16, loader.window_of(3));
}

TEST_F(LoaderTest, TheStepsSamplesDoNotDependOnReplicasOrMicroBatches) {
  const auto file = corpus(3000);
  const auto sequences = [&](int dp, std::int64_t micro_batch, std::int64_t step) {
    std::multiset<std::int32_t> starts;
    for (int rank = 0; rank < dp; ++rank) {
      const Loader loader(*file, {.seq_len = 8,
                                  .global_batch = 16,
                                  .micro_batch = micro_batch,
                                  .dp = dp,
                                  .dp_rank = rank,
                                  .seed = 3});
      for (std::int64_t micro = 0; micro < loader.micro_batches(); ++micro) {
        const Batch batch = loader.train(step, micro);
        for (std::size_t k = 0; k < batch.tokens.size(); k += 8) starts.insert(batch.tokens[k]);
      }
    }
    return starts;
  };
  for (const std::int64_t step : {0, 1, 40}) {
    const auto want = sequences(1, 1, step);
    EXPECT_EQ(want.size(), 16u);
    EXPECT_EQ(sequences(1, 4, step), want);
    EXPECT_EQ(sequences(2, 2, step), want);
    EXPECT_EQ(sequences(4, 1, step), want);
    EXPECT_EQ(sequences(8, 2, step), want);
  }
}

TEST_F(LoaderTest, OneEpochSeesEveryWindowOnceAndNeverAValidationWindow) {
  const auto file = corpus(1001);
  const Loader loader(*file, {.seq_len = 10, .global_batch = 9, .micro_batch = 3, .valid_fraction = 0.1});
  EXPECT_EQ(loader.valid_windows(), 10);
  EXPECT_EQ(loader.train_windows(), 90);
  std::vector<int> seen(100);
  for (std::int64_t step = 0; step < 10; ++step)
    for (std::int64_t micro = 0; micro < 3; ++micro) {
      const Batch batch = loader.train(step, micro);
      for (std::size_t k = 0; k < batch.tokens.size(); k += 10)
        ++seen[static_cast<std::size_t>(batch.tokens[k] / 10)];
    }
  EXPECT_EQ(std::count(seen.begin(), seen.begin() + 90, 1), 90);
  EXPECT_EQ(std::count(seen.begin() + 90, seen.end(), 0), 10);
  const Batch valid = loader.valid(0, 10);
  EXPECT_EQ(valid.tokens.front(), 900);
  EXPECT_EQ(valid.targets.back(), 1000);
}

TEST_F(LoaderTest, DocumentMask) {
  const auto file = corpus(500);
  const Loader loader(*file, {.seq_len = 16, .global_batch = 2, .micro_batch = 2, .document_mask = true});
  const Batch batch = loader.train(0, 0);
  int masked = 0;
  for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
    const std::int32_t next = batch.tokens[i] + 1;
    EXPECT_EQ(batch.targets[i], next % 10 == 0 ? -1 : next);
    masked += batch.targets[i] == -1;
  }
  EXPECT_GE(masked, 2);
}

TEST_F(LoaderTest, Refusals) {
  const auto file = corpus(100);
  const auto says = [&](const LoaderOptions& options, ErrorKind kind, const std::string& part) {
    const std::string message = refusal(*file, options, kind);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says({.seq_len = 10, .global_batch = 10}, ErrorKind::BadInput,  // D119
       "100 tokens give 9 training windows of 10, one batch takes 10: give more text, or a smaller "
       "--global-batch");
  says({.seq_len = 10, .global_batch = 9, .valid_fraction = 0.01}, ErrorKind::BadInput, "8 training windows");
  says({.seq_len = 200, .global_batch = 1}, ErrorKind::BadInput, "0 training windows");
  says({.seq_len = 10, .global_batch = 3, .micro_batch = 2}, ErrorKind::Usage,
       "--global-batch 3 is not a multiple of --micro-batch 2 times 1 replicas");
  says({.seq_len = 0}, ErrorKind::Usage, "--seq-len 0");
  says({.seq_len = 10, .global_batch = 1, .valid_fraction = 1}, ErrorKind::Usage, "--valid-fraction 1");
}

}  // namespace
}  // namespace lacuna
