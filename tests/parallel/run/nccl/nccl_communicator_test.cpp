#include <gtest/gtest.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/nccl/nccl.h"
#include "tests/parallel/run/collective_cases.h"
#include "tests/support/cuda/cuda_fake_stage.h"
#include "tests/support/cuda/own_gpu.h"
#include "tests/support/cuda/staged.h"
#include "tests/support/cuda/troubled_device.h"
#include "tests/support/mpi/mpi_world.h"

namespace lacuna {
namespace {

using test::mpi_world;
using test::OwnGpu;

// With two ranks every order of addition is the ascending one, so the sums are those of the host to the bit.
TEST(NcclCommunicator, CollectivesHaveTheBitsOfTheHostWithTwoRanks) {
  ASSERT_EQ(mpi_world().size(), 2);
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  test::Staged staged(*comm, *gpu.device);
  const std::uint64_t on_device = test::CollectiveCases(staged).run(200'003);
  EXPECT_EQ(on_device, test::CollectiveCases(mpi_world()).run(200'003));
  gpu.meet(mpi_world());
}

TEST(NcclCommunicator, MessagesKeepTheirOrderPerPeerAndTag) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  const std::vector<Channel> channels{{0, 1, 0}, {0, 1, 3}, {1, 0, 0}, {1, 0, 3}};
  comm->connect(channels);
  comm->connect(channels);  // those that are there stay
  test::Staged staged(*comm, *gpu.device);
  for (int round = 0; round < 5; ++round) test::exercise_messages(staged);
  gpu.meet(mpi_world());
}

TEST(NcclCommunicator, ATransferNeedsItsChannel) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  try {
    comm->isend(1 - comm->rank(), 9, {});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("connect() makes them"), std::string::npos) << error.what();
  }
  gpu.meet(mpi_world());
}

TEST(NcclCommunicator, TwoRanksOnOneGpuAreRefused) {
  OwnGpu gpu(mpi_world(), 0);
  try {
    make_nccl_communicator(mpi_world(), *gpu.device);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::NoFit);
    EXPECT_NE(std::string(error.what()).find("'world': ranks 0 and 1 share GPU"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("virtual ranks"), std::string::npos) << error.what();
  }
  mpi_world().barrier();
}

TEST(NcclCommunicator, SplitsStandOnTheirOwn) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  {
    const auto swapped = comm->split(0, -comm->rank(), "swapped");
    EXPECT_EQ(swapped->rank(), 1 - comm->rank());
    test::Staged staged(*swapped, *gpu.device);
    test::CollectiveCases(staged).run(1000);
    const auto alone = comm->split(comm->rank(), 0, "alone");
    test::Staged single(*alone, *gpu.device);
    test::CollectiveCases(single).run(1000);
    gpu.meet(mpi_world());
  }
}

// CUDA IPC: rank 0 writes into the area of rank 1 and reads it back, rank 1 only looks afterwards.
TEST(NcclCommunicator, WindowsReachOtherProcesses) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  constexpr std::size_t kBytes = 3'000'000;
  auto window = comm->open_window(comm->rank() == 1 ? kBytes : 0);
  if (comm->rank() == 0) {
    DeviceBytes out(*gpu.device, kBytes), back(*gpu.device, kBytes);
    const std::vector<std::byte> pattern(kBytes, std::byte{77});
    test::upload(out.data(), pattern.data(), kBytes);
    gpu.device->copy(kEvictQueue, window->base(1), out.data(), kBytes);
    gpu.device->wait(kLoadQueue, gpu.device->mark(kEvictQueue));
    gpu.device->copy(kLoadQueue, back.data(), window->base(1), kBytes);
    gpu.device->finish(kLoadQueue);
    std::vector<std::byte> seen(kBytes);
    LACUNA_CUDA_CALL(cudaMemcpy(seen.data(), back.data(), kBytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(seen, pattern);
  }
  mpi_world().barrier();
  if (comm->rank() == 1) {
    std::vector<std::byte> seen(kBytes);
    LACUNA_CUDA_CALL(cudaMemcpy(seen.data(), window->base(1), kBytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(static_cast<std::size_t>(std::count(seen.begin(), seen.end(), std::byte{77})), kBytes);
  }
  comm->close_window(std::move(window));
}

TEST(NcclExecutor, PipelinesGiveTheResultOfTheHostAtAnySpeed) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  for (const char* kind : {"gpipe", "1f1b"}) {
    for (const int micros : {1, 2, 9, 16}) {
      for (const std::int64_t delay : {0, 300'000}) {
        const Schedule schedule = make_schedule(kind, 2, micros, "off", 2);
        test::TroubledDevice device(
            *gpu.device, {.seed = static_cast<std::uint64_t>(micros + comm->rank()), .longest_ns = delay});
        const auto got = test::run_cuda_fake(schedule, *comm, device, *gpu.device, 4, 10'000);
        const test::FakeOutcome serial = test::serial_outcome(2, micros, 4);
        EXPECT_EQ(got.gradient, serial.gradient) << kind << " " << micros;
        EXPECT_EQ(got.loss, serial.loss);
        EXPECT_EQ(got.wrong_words, 0u);
        for (std::size_t step = 1; step < got.after_step.size(); ++step)
          EXPECT_EQ(got.after_step[step], got.after_step[0]);
      }
    }
  }
  gpu.meet(mpi_world());
}

// Transfers of a boundary's size arrive whole; how fast, with a channel's few thread blocks, is printed for
// docs/performance.md.
TEST(NcclExecutor, ChannelsMoveBoundaries) {
  OwnGpu gpu(mpi_world());
  const auto comm = make_nccl_communicator(mpi_world(), *gpu.device);
  const Channel channel{0, 1, 1};
  comm->connect(std::span(&channel, 1));
  const Queue queue = comm->queue_of(channel);
  for (const std::size_t bytes :
       {std::size_t{1} << 16, std::size_t{1} << 20, std::size_t{16} << 20, std::size_t{64} << 20}) {
    DeviceBytes data(*gpu.device, bytes);
    const std::vector<std::byte> pattern(bytes, std::byte{77});
    if (comm->rank() == 0) test::upload(data.data(), pattern.data(), bytes);
    constexpr int kRounds = 20;
    double seconds = 0;
    for (int pass = 0; pass < 2; ++pass) {
      mpi_world().barrier();
      const auto begin = std::chrono::steady_clock::now();
      for (int round = 0; round < kRounds; ++round) {
        auto request = comm->rank() == 0 ? comm->isend(1, 1, {data.data(), bytes})
                                         : comm->irecv(0, 1, std::span<std::byte>(data.data(), bytes));
        comm->wait(*request);
      }
      gpu.device->finish(queue);
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kRounds;
    }
    const double rate = static_cast<double>(bytes) / seconds / 1e9;
    if (comm->rank() == 0)
      std::printf("transfer of %zu KiB: %.1f us, %.1f GB/s\n", bytes >> 10, seconds * 1e6, rate);
    std::vector<std::byte> arrived(bytes);
    LACUNA_CUDA_CALL(cudaMemcpy(arrived.data(), data.data(), bytes, cudaMemcpyDeviceToHost));
    EXPECT_EQ(arrived, pattern) << bytes << " bytes";
  }
  gpu.meet(mpi_world());
}

}  // namespace
}  // namespace lacuna
