// Lets tests that are written for host memory run over a communicator of device memory: every buffer travels
// to the device and back around the call.
#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/run/communicator.h"
#include "parallel/run/cuda/cuda_check.h"

namespace lacuna::test {

// cudaMemcpy from pageable memory may return before the bytes have arrived, and our streams do not wait for
// the default stream.
inline void upload(std::byte* to, const void* from, std::size_t bytes) {
  LACUNA_CUDA_CALL(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
  LACUNA_CUDA_CALL(cudaStreamSynchronize(nullptr));
}

class Staged final : public Communicator {
 public:
  Staged(Communicator& inner, Device& device) : inner_(inner), device_(device) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }
  void report_to(Progress* progress) override { inner_.report_to(progress); }
  Communicator& control() override { return inner_.control(); }

  std::unique_ptr<Request> isend(int peer, int tag, std::span<const std::byte> data) override {
    auto moved = stage(data);
    const std::span<const std::byte> there(moved.data(), data.size());
    auto request = inner_.isend(peer, tag, there);
    return std::make_unique<Moved>(std::move(moved), std::span<std::byte>(), inner_queue(peer, tag, true),
                                   std::move(request));
  }
  std::unique_ptr<Request> irecv(int peer, int tag, std::span<std::byte> data) override {
    auto moved = stage(data);
    const std::span<std::byte> there(moved.data(), data.size());
    auto request = inner_.irecv(peer, tag, there);
    return std::make_unique<Moved>(std::move(moved), data, inner_queue(peer, tag, false), std::move(request));
  }
  bool test(Request& request) override {
    auto& moved = static_cast<Moved&>(request);
    if (!inner_.test(*moved.inner)) return false;
    device_.finish(moved.queue);
    fetch(moved.memory, moved.target);
    return true;
  }
  void wait(Request& request) override {
    while (!test(request)) idle();
  }
  void idle() override { inner_.idle(); }

  void barrier() override { inner_.barrier(); }
  void broadcast(int root, std::span<std::byte> data) override {
    const DeviceBytes moved = stage(data);
    inner_.broadcast(root, {moved.data(), data.size()});
    fetch(moved, data);
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const DeviceBytes from = stage(mine), to = stage(all);
    inner_.all_gather({from.data(), mine.size()}, {to.data(), all.size()});
    fetch(to, all);
  }
  void all_gather_v(std::span<const std::byte> mine, std::span<const std::size_t> counts,
                    std::span<std::byte> all) override {
    const DeviceBytes from = stage(mine), to = stage(all);
    inner_.all_gather_v({from.data(), mine.size()}, counts, {to.data(), all.size()});
    fetch(to, all);
  }
  void reduce_scatter_sum(const void* all, std::span<const std::size_t> counts, void* mine,
                          DType dtype) override {
    std::size_t total = 0;
    for (const std::size_t count : counts) total += count * size_of(dtype);
    const std::span target(static_cast<std::byte*>(mine),
                           counts[static_cast<std::size_t>(rank())] * size_of(dtype));
    const DeviceBytes from = stage({static_cast<const std::byte*>(all), total}), to = stage(target);
    inner_.reduce_scatter_sum(from.data(), counts, to.data(), dtype);
    fetch(to, target);
  }
  void all_reduce_sum(void* data, std::size_t count, DType dtype) override {
    const std::span target(static_cast<std::byte*>(data), count * size_of(dtype));
    const DeviceBytes moved = stage(target);
    inner_.all_reduce_sum(moved.data(), count, dtype);
    fetch(moved, target);
  }
  void all_reduce_max(void* data, std::size_t count, DType dtype) override {
    const std::span target(static_cast<std::byte*>(data), count * size_of(dtype));
    const DeviceBytes moved = stage(target);
    inner_.all_reduce_max(moved.data(), count, dtype);
    fetch(moved, target);
  }
  std::unique_ptr<Communicator> split(int, int, const std::string&) override { return nullptr; }
  std::unique_ptr<SharedWindow> open_window(std::size_t) override { return nullptr; }
  void close_window(std::unique_ptr<SharedWindow>) override {}

 private:
  struct Moved : Request {
    Moved(DeviceBytes m, std::span<std::byte> t, Queue q, std::unique_ptr<Request> r)
        : memory(std::move(m)), target(t), queue(q), inner(std::move(r)) {}
    DeviceBytes memory;  // a send's too, until it has ended
    std::span<std::byte> target;
    Queue queue;
    std::unique_ptr<Request> inner;
  };
  Queue inner_queue(int peer, int tag, bool send) {
    return inner_.queue_of(send ? Channel{rank(), peer, tag} : Channel{peer, rank(), tag});
  }
  DeviceBytes stage(std::span<const std::byte> data) {
    DeviceBytes moved(device_, std::max<std::size_t>(data.size(), 1));
    upload(moved.data(), data.data(), data.size());
    return moved;
  }
  void fetch(const DeviceBytes& from, std::span<std::byte> to) {
    device_.finish(kComputeQueue);
    LACUNA_CUDA_CALL(cudaMemcpy(to.data(), from.data(), to.size(), cudaMemcpyDeviceToHost));
  }

  Communicator& inner_;
  Device& device_;
};

}  // namespace lacuna::test
