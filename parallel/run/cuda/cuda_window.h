// Device memory of each rank that the other ranks of the node copy to and from.
#pragma once

#include <vector>

#include "parallel/run/communicator.h"

namespace lacuna {

class CudaWindow final : public SharedWindow {
 public:
  CudaWindow(Communicator& host, Device& device, std::size_t bytes);
  ~CudaWindow() override;
  std::byte* base(int rank) override { return areas_.at(static_cast<std::size_t>(rank)).data(); }
  std::size_t bytes(int rank) const override { return areas_.at(static_cast<std::size_t>(rank)).size(); }
  void sync() override {}          // queues and their marks order what ranks do
  void close(Communicator& host);  // collective

 private:
  Device& device_;
  DeviceBytes own_;
  std::vector<std::span<std::byte>> areas_;  // by rank
  std::vector<void*> opened_;                // areas of other processes
};

// Lets this thread's GPU reach the memory of the ranks' GPUs; of ranks of one process. Error(NoFit) when two
// GPUs cannot reach each other.
void enable_peers(Communicator& host, int gpu);

}  // namespace lacuna
