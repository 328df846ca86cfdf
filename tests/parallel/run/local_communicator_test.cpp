#include "parallel/run/local_communicator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include "src/base/error.h"
#include "tests/parallel/run/collective_cases.h"

namespace lacuna {
namespace {

using namespace std::chrono_literals;

TEST(LocalCommunicator, CollectivesAreExactForOneToEightRanks) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    run_local(
        ranks, [](Communicator& world, int) { test::CollectiveCases(world).run(20'011); }, 30s);
  }
}

// Longer than a block of the exchange, so that blocks, offsets and the scratch are all used.
TEST(LocalCommunicator, LongReductionsGoBlockByBlock) {
  const std::size_t count = 600'001;
  run_local(
      3,
      [&](Communicator& world, int rank) {
        auto data = test::contributions(rank, count, DType::F32, false);
        world.all_reduce_sum(data.data(), count, DType::F32);
        for (std::size_t i = 0; i < count; i += 97) {
          ASSERT_EQ(test::get(DType::F32, data.data(), i), test::ordered_sum(3, i, DType::F32, false)) << i;
        }
      },
      30s);
}

TEST(LocalCommunicator, MessagesKeepTheirOrderPerPeerAndTag) {
  for (const int ranks : {2, 3, 8}) {
    run_local(
        ranks, [](Communicator& world, int) { test::exercise_messages(world); }, 30s);
  }
}

TEST(LocalCommunicator, NothingIsBuffered) {
  run_local(
      2,
      [](Communicator& world, int rank) {
        int value = 5;
        if (rank == 0) {
          auto request = world.isend(1, 0, std::as_bytes(std::span(&value, 1)));
          std::this_thread::sleep_for(20ms);
          EXPECT_FALSE(world.test(*request));  // the receive is not there yet
          value = 6;                           // still ours: this is what arrives
          world.barrier();
          world.wait(*request);
        } else {
          world.barrier();
          auto request = world.irecv(0, 0, std::as_writable_bytes(std::span(&value, 1)));
          world.wait(*request);
          EXPECT_EQ(value, 6);
        }
      },
      30s);
}

TEST(LocalCommunicator, WindowsAreSharedMemory) {
  for (const int ranks : {1, 2, 5}) {
    run_local(
        ranks, [](Communicator& world, int) { test::exercise_window(world); }, 30s);
  }
}

TEST(LocalCommunicator, SplitsByColourAndKey) {
  run_local(
      6,
      [](Communicator& world, int rank) {
        auto part = world.split(rank % 2, -rank, "half");  // descending ranks
        ASSERT_EQ(part->size(), 3);
        EXPECT_EQ(part->name(), "half");
        EXPECT_EQ(part->rank(), 2 - rank / 2);
        EXPECT_EQ(sum_over(*part, std::int64_t{rank}), rank % 2 ? 1 + 3 + 5 : 0 + 2 + 4);
        auto lone = part->split(part->rank(), 0, "alone");
        EXPECT_EQ(lone->size(), 1);
        EXPECT_EQ(sum_over(*lone, 2.5), 2.5);
        auto again = world.split(0, 0, "all");
        EXPECT_EQ(again->rank(), rank);
        test::exercise_messages(*part);  // traffic of three communicators at once
        EXPECT_EQ(sum_over(*again, 1.0), 6.0);
      },
      30s);
}

TEST(LocalCommunicator, SingleRankStandsAlone) {
  auto alone = single_rank();
  EXPECT_EQ(alone->size(), 1);
  test::CollectiveCases(*alone).run(100);
  test::exercise_window(*alone);
  auto part = alone->split(4, 0, "part");
  alone.reset();  // what was split off does not need it
  EXPECT_EQ(sum_over(*part, 3.0), 3.0);
  EXPECT_EQ(part->name(), "part");
}

TEST(LocalCommunicator, NaNWinsAMaximum) {
  run_local(
      3,
      [](Communicator& world, int rank) {
        double value = rank == 1 ? std::numeric_limits<double>::quiet_NaN() : rank;
        world.all_reduce_max(&value, 1, DType::F64);
        EXPECT_NE(value, value);
      },
      30s);
}

// The exception of the rank that failed comes out; the others hear of it wherever they wait.
TEST(LocalCommunicator, AFailingRankUnblocksTheOthers) {
  std::atomic<int> told{0};
  const auto watch = [&](auto&& body) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Hang);
      EXPECT_NE(std::string(error.what()).find("lost rank 2 (out of milk)"), std::string::npos)
          << error.what();
      ++told;
      throw;
    }
  };
  const auto body = [&](Communicator& world, int rank) {
    std::byte cell{};
    if (rank == 0) watch([&] { world.barrier(); });
    if (rank == 1) {
      watch([&] {
        auto request = world.irecv(2, 1, {&cell, 1});
        while (!world.test(*request)) world.idle();
      });
    }
    if (rank == 2) {
      std::this_thread::sleep_for(10ms);
      fail(ErrorKind::BadInput, "out of milk");
    }
    if (rank == 3) {
      watch([&] { world.wait(*world.isend(0, 1, {&cell, 1})); });
    }
  };
  try {
    run_local(4, body, 30s);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::BadInput);
    EXPECT_STREQ(error.what(), "out of milk");
  }
  EXPECT_EQ(told, 3);
}

TEST(LocalCommunicator, ARankThatLeavesEarlyIsReported) {
  try {
    run_local(
        2,
        [](Communicator& world, int rank) {
          if (rank == 0) world.barrier();
        },
        30s);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Hang);
    EXPECT_NE(std::string(error.what()).find("rank 1 of the world has ended"), std::string::npos)
        << error.what();
  }
}

TEST(LocalCommunicator, EveryWaitHasALimit) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    run_local(
        2,
        [](Communicator& world, int rank) {
          std::byte cell{};
          world.wait(*world.irecv(1 - rank, 4, {&cell, 1}));  // both receive, nobody sends
        },
        50ms);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Hang);
    EXPECT_NE(std::string(error.what()).find("nothing for 50 ms, waiting in a receive of 1 bytes from rank"),
              std::string::npos)
        << error.what();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST(LocalCommunicator, SizesThatDifferAreAnErrorOnBothSides) {
  std::atomic<int> told{0};
  EXPECT_THROW(run_local(
                   2,
                   [&](Communicator& world, int rank) {
                     std::vector<std::byte> data(static_cast<std::size_t>(8 + rank));
                     try {
                       world.wait(rank == 0 ? *world.isend(1, 0, data) : *world.irecv(0, 0, data));
                     } catch (const Error& error) {
                       const std::string text = error.what();
                       EXPECT_NE(text.find("8 bytes"), std::string::npos) << text;
                       EXPECT_NE(text.find("9 bytes"), std::string::npos) << text;
                       ++told;
                       throw;
                     }
                   },
                   30s),
               Error);
  EXPECT_EQ(told, 2);
}

// Rank 1 comes only once rank 0 has been seen waiting for it (or after a limit, and then the test fails).
TEST(LocalCommunicator, WaitingSaysWhatFor) {
  Progress progress;
  run_local(
      2,
      [&](Communicator& world, int rank) {
        if (rank == 0) world.report_to(&progress);
        auto part = world.split(0, 0, "pp");
        if (rank == 1) {
          const auto limit = std::chrono::steady_clock::now() + 20s;
          while (progress.peer != 1 || std::string_view(progress.doing) != "all-reduce") {
            ASSERT_LT(std::chrono::steady_clock::now(), limit);
            std::this_thread::sleep_for(1ms);
          }
          EXPECT_STREQ(progress.with, "pp");
        }
        const std::uint64_t before = progress.ticks;
        sum_over(*part, 1.0);
        EXPECT_TRUE(rank == 1 || progress.ticks > before);
      },
      30s);
  EXPECT_STREQ(progress.doing, "");
  EXPECT_EQ(progress.peer, -1);
}

}  // namespace
}  // namespace lacuna
