// The collectives of every host communicator, written once over messages: all implementations then add in
// the same (ascending) order and give equal bits. Receives are posted before sends and everything is waited
// for at the end, so no step needs a buffered message.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/run/communicator.h"
#include "parallel/run/rank_sum.h"

namespace lacuna {

class OrderedCollectives : public Communicator {
 public:
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name() const override { return name_; }
  void report_to(Progress* progress) override { progress_ = progress; }

  void barrier() override;
  void broadcast(int root, std::span<std::byte> data) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                    std::span<std::byte> all) override;
  void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                          DType dtype) override;
  void all_reduce_sum(void* data, std::size_t count, DType dtype) override;
  void all_reduce_max(void* data, std::size_t count, DType dtype) override;

 protected:
  // `name` is referred to, not copied: it outlives the communicator and the watchdog.
  OrderedCollectives(int rank, int size, const std::string& name, Progress* progress)
      : progress_(progress), rank_(rank), size_(size), name_(name) {}

  // A message of the collectives' own channel, which never meets isend and irecv. In order per peer.
  virtual std::unique_ptr<Request> post_send(int peer, std::span<const std::byte> data) = 0;
  virtual std::unique_ptr<Request> post_recv(int peer, std::span<std::byte> data) = 0;

  Progress* progress_;

 private:
  using Requests = std::vector<std::unique_ptr<Request>>;
  void wait_all(Requests& requests);
  void gather(std::span<const std::byte> mine, std::span<const std::size_t> counts, std::span<std::byte> all);
  void reduce_scatter(Reduction reduction, const std::byte* all, std::span<const std::size_t> counts,
                      std::byte* mine, DType dtype);
  void all_reduce(Reduction reduction, std::byte* data, std::size_t count, DType dtype);

  int rank_, size_;
  const std::string& name_;
  std::vector<std::byte> scratch_;  // of the peers' parts; grows to at most size · kBlockBytes
};

}  // namespace lacuna
