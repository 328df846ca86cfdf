// The same training under mpirun as on local threads: equal bits for layouts of four ranks, BPipe included.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/mpi/mpi_world.h"
#include "tests/train/support/small_run.h"

namespace lacuna::test {
namespace {

constexpr int kSteps = 20;

// Every process holds its own rows; all others are zero, so the sum is exact.
GlobalTensors whole(Communicator& world, const GlobalTensors& mine, const ModelConfig& config) {
  GlobalTensors out;
  for (const Parameter& p : parameters(config)) {
    const auto found = mine.find(p.name);
    std::vector<double> values = found == mine.end()
                                     ? std::vector<double>(static_cast<std::size_t>(p.elements()), 0.0)
                                     : found->second;
    world.all_reduce_sum(values.data(), values.size(), DType::F64);
    out[p.name] = std::move(values);
  }
  return out;
}

TEST(LayoutsUnderMpi, EqualTheThreadsToTheBit) {
  Communicator& world = mpi_world();
  ASSERT_EQ(world.size(), 4);
  const ModelConfig config = small_model();
  for (const auto& [pp, tp, dp, bpipe] : {std::tuple{4, 1, 1, "tight"}, std::tuple{2, 2, 1, "off"},
                                          std::tuple{1, 2, 2, "off"}, std::tuple{2, 1, 2, "off"}}) {
    SCOPED_TRACE(fmt::format("pp {} tp {} dp {} bpipe {}", pp, tp, dp, bpipe));
    TrainOptions options = small_options(pp, tp, dp);
    options.bpipe = bpipe;
    RunNumbers mine;
    std::mutex mutex;
    run_rank(world, options, kSteps, config, mine, mutex);
    const GlobalTensors weights = whole(world, mine.weights, config);
    if (world.rank() == 0) {  // the same (tp, dp) without a pipeline, on threads
      const RunNumbers reference = run_layout(small_options(1, tp, dp), kSteps);
      EXPECT_EQ(mine.loss, reference.loss);
      EXPECT_EQ(mine.norm, reference.norm);
      EXPECT_TRUE(same_bits(weights, reference.weights));
      EXPECT_EQ(mine.stats[0].evictions > 0, options.bpipe == "tight");
    }
    world.barrier();
  }
}

}  // namespace
}  // namespace lacuna::test
