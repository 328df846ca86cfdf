#include <gtest/gtest.h>

#include <mutex>

#include "parallel/run/cuda/cuda_check.h"
#include "tests/parallel/run/collective_cases.h"
#include "tests/support/cuda/staged.h"
#include "tests/support/cuda/virtual_ranks.h"

namespace lacuna {
namespace {

using test::VirtualRank;

TEST(ThreadCommunicator, CollectivesHaveTheBitsOfTheHost) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    std::mutex mutex;
    std::vector<std::uint64_t> on_device(static_cast<std::size_t>(ranks)), on_host(on_device);
    const auto keep = [&](std::vector<std::uint64_t>& to, int rank, std::uint64_t hash) {
      const std::lock_guard lock(mutex);
      to[static_cast<std::size_t>(rank)] = hash;
    };
    test::run_virtual(ranks, [&](VirtualRank rank) {
      test::Staged staged(rank.comm, rank.device);
      keep(on_device, staged.rank(), test::CollectiveCases(staged).run(70'001));
    });
    run_local(ranks, [&](Communicator& world, int rank) {
      keep(on_host, rank, test::CollectiveCases(world).run(70'001));
    });
    EXPECT_EQ(on_device, on_host) << ranks << " ranks";
  }
}

TEST(ThreadCommunicator, MessagesKeepTheirOrderPerPeerAndTag) {
  for (const int ranks : {2, 4}) {
    test::run_virtual(ranks, [&](VirtualRank rank) {
      test::Staged staged(rank.comm, rank.device);
      for (int round = 0; round < 3; ++round) test::exercise_messages(staged);
    });
  }
}

TEST(ThreadCommunicator, MessagesOfUnequalLengthAreAnError) {
  try {
    test::run_virtual(2, [](VirtualRank rank) {
      DeviceBytes data(rank.device, 64);
      auto request = rank.comm.rank() == 0 ? rank.comm.isend(1, 5, {data.data(), 8})
                                           : rank.comm.irecv(0, 5, std::span<std::byte>(data.data(), 9));
      rank.comm.wait(*request);
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "'world' on rank 1: 8 bytes come from rank 0 with tag 5, wanted 9");
  }
}

// Every rank writes into the area of the next one, in its own queue, and only the owner looks.
TEST(ThreadCommunicator, WindowsAreReachedByCopies) {
  test::run_virtual(4, [](VirtualRank rank) {
    const int me = rank.comm.rank(), next = (me + 1) % 4, before = (me + 3) % 4;
    const auto bytes_of = [](int r) { return static_cast<std::size_t>(r) * 100'000; };  // rank 0: none
    auto window = rank.comm.open_window(bytes_of(me));
    DeviceBytes mine(rank.device, 400'000);
    const std::vector<std::byte> pattern(400'000, std::byte(10 + me));
    test::upload(mine.data(), pattern.data(), pattern.size());
    for (int r = 0; r < 4; ++r) ASSERT_EQ(window->bytes(r), bytes_of(r));
    if (bytes_of(next) > 0) rank.device.copy(kEvictQueue, window->base(next), mine.data(), bytes_of(next));
    rank.device.finish(kEvictQueue);
    rank.host.barrier();
    std::vector<std::byte> seen(bytes_of(me));
    LACUNA_CUDA_CALL(cudaMemcpy(seen.data(), window->base(me), seen.size(), cudaMemcpyDeviceToHost));
    EXPECT_EQ(std::count(seen.begin(), seen.end(), std::byte(10 + before)),
              static_cast<std::ptrdiff_t>(seen.size()));
    rank.comm.close_window(std::move(window));
  });
}

TEST(ThreadCommunicator, SplitsAndReducesInTheCallersOrder) {
  test::run_virtual(6, [](VirtualRank rank) {
    auto half = rank.comm.split(rank.comm.rank() % 2, -rank.comm.rank(), "half");
    EXPECT_EQ(half->name(), "half");
    EXPECT_EQ(half->size(), 3);
    EXPECT_EQ(half->rank(), 2 - rank.comm.rank() / 2);
    test::Staged staged(*half, rank.device);
    test::CollectiveCases(staged).run(2000);
  });
}

// A queue of collectives without a host wait between them: each sees what the one before left.
TEST(ThreadCommunicator, CollectivesQueueBehindEachOther) {
  test::run_virtual(4, [](VirtualRank rank) {
    constexpr std::size_t kCount = 100'000;
    DeviceBytes data(rank.device, kCount * sizeof(float));
    std::vector<float> ones(kCount, 1.0f);
    test::upload(data.data(), ones.data(), kCount * sizeof(float));
    const DeviceCounters before = rank.device.counters();
    for (int round = 0; round < 10; ++round) rank.comm.all_reduce_sum(data.data(), kCount, DType::F32);
    EXPECT_EQ(rank.device.counters(), before);
    rank.device.finish(kComputeQueue);
    LACUNA_CUDA_CALL(cudaMemcpy(ones.data(), data.data(), kCount * sizeof(float), cudaMemcpyDeviceToHost));
    for (const float value : ones) ASSERT_EQ(value, 1048576.0f);  // 4^10
  });
}

}  // namespace
}  // namespace lacuna
