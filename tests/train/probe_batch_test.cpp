#include "src/train/probe_batch.h"

#include <gtest/gtest.h>

#include "parallel/run/local_communicator.h"

namespace lacuna {
namespace {

const ProbeSequences kSequences{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};

TEST(ProbeBatch, PadsSequencesAndTheLastMicroBatch) {
  const ProbeShape shape = probe_shape(kSequences, 2, 4);
  EXPECT_EQ(shape.micros(), 2u);
  const StepBatch batch = probe_batch(kSequences, shape);
  EXPECT_EQ(batch.micros, 2);
  EXPECT_EQ(batch.tokens, (std::vector<std::int32_t>{1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0}));
  std::vector<std::int32_t> targets(16, -1);
  targets[0] = 0;
  EXPECT_EQ(batch.targets, targets);
  EXPECT_EQ(last_tokens(shape), (std::vector<std::int64_t>{2, 6}));
}

// A vocabulary of 5 on two ranks: three columns each, the last one padding.
TEST(ProbeBatch, PutsTheVocabularyTogether) {
  const ProbeShape shape = probe_shape(kSequences, 2, 4);
  run_local(2, [&](Communicator& tp, int rank) {
    std::vector<std::vector<double>> kept(shape.micros());
    for (std::size_t micro = 0; micro < kept.size(); ++micro)
      for (std::size_t k = 0; k < shape.per_micro; ++k)
        for (int column = 0; column < 3; ++column)
          kept[micro].push_back(static_cast<double>(10 * (micro * shape.per_micro + k)) + 3 * rank + column);
    const std::vector<std::vector<double>> logits = gather_logits(tp, kept, shape, 5);
    ASSERT_EQ(logits.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const double first = static_cast<double>(10 * i);
      EXPECT_EQ(logits[i], (std::vector<double>{first, first + 1, first + 2, first + 3, first + 4}));
    }
  });
}

}  // namespace
}  // namespace lacuna
