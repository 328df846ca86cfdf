// The GPU of a process in a test under mpirun.
#pragma once

#include <memory>

#include "parallel/run/communicator.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/gpus.h"
#include "parallel/run/node_place.h"

namespace lacuna::test {

struct OwnGpu {
  // By local rank, or the one at `position` in PCI order.
  explicit OwnGpu(Communicator& host, int position = -1) {
    const std::vector<GpuInfo> gpus = gpus_by_pci();
    if (position < 0) position = gpu_of_rank(find_node_place(host), static_cast<int>(gpus.size()));
    use_gpu(gpus.at(static_cast<std::size_t>(position)).index);
    device = make_cuda_device();
  }
  // Before the communicators over the device go: nobody has work left.
  void meet(Communicator& host) {
    device->finish(kComputeQueue);
    host.barrier();
  }
  std::unique_ptr<Device> device;
};

}  // namespace lacuna::test
