#include "src/base/thread_pool.h"

#include <gtest/gtest.h>

#include "src/base/error.h"

namespace lacuna {
namespace {

TEST(ThreadPool, CoversEveryIndexOnceInWholeGrains) {
  for (int threads : {1, 2, 4, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int round = 0; round < 300; ++round)
      for (std::int64_t count : {0, 1, 15, 16, 17, 1000}) {
        std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
        pool.split(count, 16, 1e9, [&](std::int64_t begin, std::int64_t end, int worker) {
          EXPECT_TRUE(begin % 16 == 0 && (end % 16 == 0 || end == count) && worker >= 0 && worker < threads);
          for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
        for (const std::atomic<int>& hit : hits) ASSERT_EQ(hit, 1);
      }
  }
}

TEST(ThreadPool, RethrowsTheFailureOfAChunkAndGoesOn) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(pool.split(100, 1, 1e9,
                            [](std::int64_t begin, std::int64_t, int) {
                              if (begin > 40) fail(ErrorKind::Numeric, "chunk at {}", begin);
                            }),
                 Error);
    std::atomic<std::int64_t> sum{0};
    pool.split(100, 1, 1e9, [&](std::int64_t begin, std::int64_t end, int) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
}

}  // namespace
}  // namespace lacuna
