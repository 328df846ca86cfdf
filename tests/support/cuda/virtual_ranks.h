// Virtual ranks for tests: threads with a device each, on all GPUs of the machine.
#pragma once

#include <functional>

#include "parallel/run/communicator.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/gpus.h"
#include "parallel/run/local_communicator.h"
#include "parallel/run/node_place.h"
#include "src/base/error.h"

namespace lacuna::test {

struct VirtualRank {
  Communicator& host;
  Device& device;
  Communicator& comm;
};

// Fails when there is no GPU.
inline void run_virtual(int ranks, const std::function<void(VirtualRank)>& body) {
  const std::vector<GpuInfo> gpus = gpus_by_pci();
  run_local(
      ranks,
      [&](Communicator& host, int) {
        const int chosen = gpu_of_rank(find_node_place(host), static_cast<int>(gpus.size()));
        use_gpu(gpus[static_cast<std::size_t>(chosen)].index);
        const auto device = make_cuda_device();
        const auto comm = make_cuda_communicator(host, *device);
        body({host, *device, *comm});
        device->finish(kComputeQueue);
        host.barrier();
      },
      std::chrono::seconds(60));
}

}  // namespace lacuna::test
