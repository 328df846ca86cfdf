#include <gtest/gtest.h>

#include <chrono>
#include <mutex>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"
#include "tests/parallel/run/collective_cases.h"
#include "tests/support/mpi/mpi_world.h"

namespace lacuna {
namespace {

using namespace std::chrono_literals;
using test::mpi_world;

// The first `ranks` ranks of the world as a communicator of their own; null for the others. Collective.
std::unique_ptr<Communicator> first_ranks(int ranks) {
  auto part = mpi_world().split(mpi_world().rank() < ranks ? 0 : 1, 0, fmt::format("first {}", ranks));
  if (mpi_world().rank() >= ranks) part.reset();
  return part;
}

// The results of every rank have the bits that threads of one process get.
TEST(MpiCommunicator, CollectivesHaveTheBitsOfLocalRanks) {
  for (int ranks = 1; ranks <= mpi_world().size(); ++ranks) {
    const auto comm = first_ranks(ranks);
    if (!comm) continue;
    const std::size_t largest = ranks == 3 ? 200'003 : 5'003;  // past the cutting of messages and the blocks
    const std::uint64_t mine = test::CollectiveCases(*comm).run(largest);
    std::vector<std::uint64_t> hashes(static_cast<std::size_t>(ranks));
    comm->all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(hashes)));
    if (comm->rank() != 0) continue;
    std::mutex mutex;
    std::vector<std::uint64_t> local(hashes.size());
    run_local(
        ranks,
        [&](Communicator& world, int rank) {
          const std::uint64_t hash = test::CollectiveCases(world).run(largest);
          const std::lock_guard lock(mutex);
          local[static_cast<std::size_t>(rank)] = hash;
        },
        100s);
    EXPECT_EQ(hashes, local) << ranks << " ranks";
  }
  mpi_world().barrier();
}

TEST(MpiCommunicator, MessagesKeepTheirOrderPerPeerAndTag) {
  for (int ranks = 2; ranks <= mpi_world().size(); ++ranks) {
    if (const auto comm = first_ranks(ranks)) test::exercise_messages(*comm);
  }
}

TEST(MpiCommunicator, LongMessagesTravelInParts) {
  Communicator& world = mpi_world();
  if (world.rank() < 2) {
    for (const std::size_t bytes : {test::kMpiMessageBytes - 1, test::kMpiMessageBytes,
                                    test::kMpiMessageBytes + 1, 7 * test::kMpiMessageBytes + 13}) {
      std::vector<std::byte> out(bytes), in(bytes);
      for (std::size_t i = 0; i < bytes; ++i)
        out[i] = std::byte(rng_bits(static_cast<std::uint64_t>(world.rank()), i));
      auto send = world.isend(1 - world.rank(), 0, out);  // both send first
      auto receive = world.irecv(1 - world.rank(), 0, in);
      world.wait(*send);
      world.wait(*receive);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < bytes; ++i) {
        wrong += in[i] != std::byte(rng_bits(static_cast<std::uint64_t>(1 - world.rank()), i));
      }
      EXPECT_EQ(wrong, 0u);
    }
  }
  world.barrier();
}

TEST(MpiCommunicator, SendsWaitForTheirReceive) {
  Communicator& world = mpi_world();
  if (world.rank() < 2) {
    std::byte cell{7};
    if (world.rank() == 0) {
      auto request = world.isend(1, 0, {&cell, 1});
      const auto end = std::chrono::steady_clock::now() + 50ms;
      bool ended = false;
      while (std::chrono::steady_clock::now() < end) ended = ended || world.test(*request);
      EXPECT_FALSE(ended);  // one byte, and yet not buffered
      world.wait(*world.isend(1, 1, {&cell, 1}));
      world.wait(*request);
    } else {
      std::byte second{};
      world.wait(*world.irecv(0, 1, {&second, 1}));  // the later one first: tags do not block each other
      std::byte first{};
      world.wait(*world.irecv(0, 0, {&first, 1}));
      EXPECT_EQ(first, cell);
    }
  }
  world.barrier();
}

TEST(MpiCommunicator, WindowsAreSharedMemory) {
  for (int ranks = 1; ranks <= mpi_world().size(); ++ranks) {
    if (const auto comm = first_ranks(ranks)) test::exercise_window(*comm);
  }
}

// More shared memory than any machine has: every rank says so, and can go on.
TEST(MpiCommunicator, AWindowThatDoesNotFitIsNoFit) {
  try {
    mpi_world().open_window(std::size_t{1} << 50);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::NoFit);
    EXPECT_NE(std::string(error.what())
                  .find(fmt::format("'world': {} bytes of shared memory wanted",
                                    mpi_world().size() * (std::int64_t{1} << 50))),
              std::string::npos)
        << error.what();
  }
  test::exercise_window(mpi_world());
}

TEST(MpiCommunicator, SplitsByColourAndKey) {
  Communicator& world = mpi_world();
  auto half = world.split(world.rank() % 2, -world.rank(), "half");
  EXPECT_EQ(half->name(), "half");
  EXPECT_EQ(half->size(), (world.size() + 1 - world.rank() % 2) / 2);
  EXPECT_EQ(half->rank(), half->size() - 1 - world.rank() / 2);
  auto pair = half->split(half->rank() / 2, 0, "pair");
  test::exercise_messages(*half);
  test::exercise_messages(*pair);
  EXPECT_EQ(sum_over(world, std::int64_t{1}), world.size());
}

TEST(MpiCommunicator, AShorterMessageIsAnError) {
  Communicator& world = mpi_world();
  if (world.rank() < 2) {
    std::vector<std::byte> data(static_cast<std::size_t>(8 + world.rank()));
    if (world.rank() == 0) {
      world.wait(*world.isend(1, 5, data));
    } else {
      try {
        world.wait(*world.irecv(0, 5, data));
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "'world' on rank 1: 8 bytes came from rank 0 with tag 5, wanted 9");
      }
    }
  }
  world.barrier();
}

TEST(MpiCommunicator, ProgressTicksWhileRanksMeet) {
  Progress progress;
  auto all = mpi_world().split(0, 0, "all");
  all->report_to(&progress);
  const std::uint64_t before = progress.ticks;
  sum_over(*all, 1.0);
  EXPECT_GE(progress.ticks, before + 2);
  EXPECT_STREQ(progress.doing, "");
}

}  // namespace
}  // namespace lacuna
