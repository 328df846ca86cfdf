#include "parallel/run/node_place.h"

#include <gtest/gtest.h>

#include "parallel/run/local_communicator.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

TEST(NodePlace, ThreadsOfOneProcessAreVirtualRanks) {
  run_local(5, [](Communicator& world, int rank) {
    const NodePlace place = find_node_place(world);
    EXPECT_EQ(place.local_rank, rank);
    EXPECT_EQ(place.local_size, 5);
    EXPECT_TRUE(place.threads);
    const auto pair = world.split(rank / 4, 0, "pair");
    EXPECT_EQ(find_node_place(*pair).threads, rank < 4);  // the last one is alone
  });
}

std::vector<int> gpus_of(int ranks, int gpus) {
  std::vector<int> out;
  for (int rank = 0; rank < ranks; ++rank) out.push_back(gpu_of_rank({rank, ranks, true}, gpus));
  return out;
}

TEST(NodePlace, VirtualRanksShareGpusInBlocks) {
  EXPECT_EQ(gpus_of(4, 1), (std::vector<int>{0, 0, 0, 0}));
  EXPECT_EQ(gpus_of(8, 2), (std::vector<int>{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(gpus_of(3, 2), (std::vector<int>{0, 0, 1}));
  EXPECT_EQ(gpus_of(2, 8), (std::vector<int>{0, 4}));
}

TEST(NodePlace, ProcessesGetAGpuEachOrAreRefused) {
  for (int rank = 0; rank < 4; ++rank) EXPECT_EQ(gpu_of_rank({rank, 4, false}, 8), rank);
  try {
    gpu_of_rank({1, 4, false}, 1);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::NoFit);
    EXPECT_STREQ(
        error.what(),
        "4 processes on this machine, 1 GPU: each needs its own. Start one process a GPU, or run them as "
        "virtual ranks, threads of one process that share GPUs");
  }
  EXPECT_THROW(gpu_of_rank({0, 1, true}, 0), Error);
}

}  // namespace
}  // namespace lacuna
