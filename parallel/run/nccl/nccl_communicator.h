// Ranks that are processes with a GPU each. One NCCL communicator over all ranks carries the collectives, in
// the compute queue; each channel has one of two ranks with a queue of its own. So every communicator carries
// one direction, and no order of transfers at the two ends can deadlock.
#pragma once

#include <nccl.h>

#include <map>
#include <memory>

#include "parallel/run/cuda/device_communicator.h"

namespace lacuna {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  NcclCommunicator(Communicator& host, StreamDevice& device, Progress* progress);
  ~NcclCommunicator() override;

  void connect(std::span<const Channel> channels) override;
  Queue queue_of(const Channel& channel) override { return line(channel).queue; }

  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) override;
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) override;
  bool test(Request& request) override;
  void wait(Request& request) override { test(request); }

  void barrier() override;
  void broadcast(int root, std::span<std::byte> data) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                    std::span<std::byte> all) override;
  void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                          DType dtype) override;

 private:
  struct Line {
    ncclComm_t comm = nullptr;  // rank 0 sends
    Queue queue = kComputeQueue;
  };
  Line& line(const Channel& channel);
  void require_own_gpus();
  void connect_ranks();
  void open(const Channel& channel);
  void check_peers() const;  // Error(Hang) when NCCL has lost one
  void all_reduce(Reduction reduction, void* data, std::size_t count, DType dtype) override;
  std::unique_ptr<DeviceCommunicator> over(Communicator& host) override;

  ncclComm_t all_ = nullptr;  // null: one rank
  std::map<Channel, Line> lines_;
  DeviceBytes scratch_;
};

}  // namespace lacuna
