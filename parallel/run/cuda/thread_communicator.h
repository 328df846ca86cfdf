// Virtual ranks: threads of one process that share one GPU or several, over device memory. The host
// communicator of the same threads carries pointers and events, the device the bytes.
//
// Transfer: the sender says where its data lies and after which event it is ready; the receiver's queue waits
// for the event, copies, and records another, for which the sender's queue waits. Collective: the ranks show
// each other their buffers and events, every compute queue waits for all, works on its part, and waits for
// all again. So nobody waits on the host but for another thread to issue.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "parallel/run/cuda/device_communicator.h"

namespace lacuna {

class ThreadTransfer;

class ThreadCommunicator final : public DeviceCommunicator {
 public:
  ThreadCommunicator(Communicator& host, StreamDevice& device, Progress* progress);

  void connect(std::span<const Channel> channels) override;
  Queue queue_of(const Channel& channel) override { return line(channel).queue; }

  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) override;
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) override;
  bool test(Request& request) override;
  void wait(Request& request) override;

  void barrier() override;
  void broadcast(int root, std::span<std::byte> data) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                    std::span<std::byte> all) override;
  void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                          DType dtype) override;

 private:
  friend class ThreadTransfer;
  // One channel's end at this rank. Transfers are issued in order; events are used again.
  struct Line {
    Queue queue = kComputeQueue;
    std::deque<ThreadTransfer*> open;  // posted, not ended
    std::vector<cudaEvent_t> spare;
    int events = 0;                // spare or in use
    std::int64_t taken = 0;        // sender: copies that its queue waits for
    std::deque<cudaEvent_t> lent;  // receiver: events that the sender may not have waited for yet
    std::int64_t returned = 0;     // receiver: how many came back
  };
  struct Share {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  Line& line(const Channel& channel);
  cudaEvent_t take_event(Line& line);
  void advance(Line& line);
  void advance_all();
  bool advance_send(Line& line, ThreadTransfer& transfer);
  bool advance_receive(Line& line, ThreadTransfer& transfer);
  void exchange(int tag, const Share& mine, std::span<Share> all);
  std::vector<Share> meet(const void* data, std::size_t bytes);
  void part();
  void all_reduce(Reduction reduction, void* data, std::size_t count, DType dtype) override;
  std::unique_ptr<DeviceCommunicator> over(Communicator& host) override;

  std::map<Channel, Line> lines_;
  cudaEvent_t ready_, done_;
  std::vector<cudaEvent_t> all_ready_, all_done_;  // by rank
};

}  // namespace lacuna
