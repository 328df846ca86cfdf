// The one door through which bytes leave a rank. A communicator is used by one thread. Those of host memory
// (threads of one process, MPI) and threads that share GPUs add in ascending rank order, so they give equal
// bits and a result depends on the number of ranks alone; NCCL adds in an order of its own.
//
// A communicator of device memory queues: its calls return when the work is issued. Collectives run in the
// compute queue of its device, a transfer in the queue of its channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parallel/run/device.h"
#include "parallel/run/progress.h"
#include "src/base/dtype.h"

namespace lacuna {

// One direction between two ranks: the transfers `from` -> `to` with this tag, in order.
struct Channel {
  int from = 0, to = 0, tag = 0;
  auto operator<=>(const Channel&) const = default;
};

// A transfer under way. Ends by Communicator::test or wait; must not outlive its communicator.
class Request {
 public:
  virtual ~Request() = default;
  // Where in its channel's queue it ended. None: where that queue stands when test first says so.
  Mark end = kNoMark;
};

// Memory of this rank that its peers on the same node can write and read without its help (BPipe's guest
// areas). Freed collectively by Communicator::close_window; no collective in a destructor.
class SharedWindow {
 public:
  virtual ~SharedWindow() = default;
  virtual std::byte* base(int rank) = 0;  // the area that `rank` contributed
  virtual std::size_t bytes(int rank) const = 0;
  // Makes the writes of this rank visible to the peers, and theirs to this rank.
  virtual void sync() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;  // for errors and the watchdog: "pp", "tp of stage 2", ...
  // Where blocking calls say what they wait for, and tick; inherited by communicators split off later. Null:
  // nowhere. The progress outlives the communicator, the communicator's world outlives the watchdog.
  virtual void report_to(Progress* progress) = 0;
  // The same ranks, for host memory: this communicator itself unless it carries device memory.
  virtual Communicator& control() { return *this; }

  // Collective, with the same list on every rank: prepares channels, so that no later transfer has to wait
  // for its connection. A channel stands there as often as transfers of it may be under way together.
  // Channels that are there already stay. NCCL needs this before the first transfer.
  virtual void connect(std::span<const Channel> channels) { static_cast<void>(channels); }
  // The queue in which the transfers of a channel of this rank run.
  virtual Queue queue_of(const Channel& channel) {
    static_cast<void>(channel);
    return kComputeQueue;
  }
  // Point to point. Matching is in order per (peer, tag). The buffer stays alive and untouched until the
  // request has ended. Nothing is buffered: a send may wait for its receive (Issend in MPI). On a device the
  // data is taken after what its channel's queue waits for, and test is true once the transfer is issued:
  // what comes later in that queue comes after it.
  virtual std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) = 0;
  virtual std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) = 0;
  virtual bool test(Request& request) = 0;  // true once ended; makes progress
  virtual void wait(Request& request) = 0;  // blocks, feeds the progress word
  // Called by an idle event loop: yields the processor, makes progress.
  virtual void idle() = 0;

  // Collectives: every rank of the communicator calls them in the same order with matching sizes.
  virtual void barrier() = 0;
  virtual void broadcast(int root, std::span<std::byte> data) = 0;
  // all has size() · mine.size() bytes, in rank order.
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  // Uneven: counts[r] bytes come from rank r; all holds them back to back.
  virtual void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                            std::span<std::byte> all) = 0;
  // all: elements of every rank's part back to back, counts[r] elements belong to rank r. mine receives
  // this rank's part, summed over ranks in ascending order. BF16 is added in float and rounded once.
  virtual void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                                  DType dtype) = 0;
  // In place; the same order of addition. F64, F32, BF16, I64.
  virtual void all_reduce_sum(void* data, std::size_t count, DType dtype) = 0;
  virtual void all_reduce_max(void* data, std::size_t count, DType dtype) = 0;

  // Ranks with equal colour form a communicator, ordered by key, then rank. Collective.
  virtual std::unique_ptr<Communicator> split(int colour, int key, const std::string& new_name) = 0;
  // Collective; every rank contributes `bytes` (may be 0), zero at first. Fails with NoFit when the ranks do
  // not share a node.
  virtual std::unique_ptr<SharedWindow> open_window(std::size_t bytes) = 0;
  virtual void close_window(std::unique_ptr<SharedWindow> window) = 0;
};

// Sums one value of each rank, a convenience over all_reduce_sum.
double sum_over(Communicator& comm, double value);
std::int64_t sum_over(Communicator& comm, std::int64_t value);

}  // namespace lacuna
