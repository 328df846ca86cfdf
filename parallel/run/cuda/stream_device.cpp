#include "parallel/run/cuda/stream_device.h"

#include <exception>
#include <thread>

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"

namespace lacuna {
namespace {

cudaEvent_t make_event() {
  cudaEvent_t event = nullptr;
  LACUNA_CUDA_CALL(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

}  // namespace

StreamDevice::StreamDevice(cudaStream_t compute) : owns_compute_(compute == nullptr) {
  LACUNA_CUDA_CALL(cudaGetDevice(&gpu_));
  if (owns_compute_) LACUNA_CUDA_CALL(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
  streams_.push_back(compute);
  open_queue();  // evictions
  open_queue();  // loads
  finished_ = make_event();
}

StreamDevice::~StreamDevice() {
  for (std::size_t i = owns_compute_ ? 0 : 1; i < streams_.size(); ++i) cudaStreamDestroy(streams_[i]);
  for (cudaEvent_t event : marks_) cudaEventDestroy(event);
  for (cudaEvent_t event : other_events_) cudaEventDestroy(event);
  if (finished_) cudaEventDestroy(finished_);
}

std::byte* StreamDevice::allocate(std::size_t bytes) {
  ++counters_.allocations;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // so that it is not found again
    std::size_t available = 0, total = 0;
    LACUNA_CUDA_CALL(cudaMemGetInfo(&available, &total));
    const auto gib = [](std::size_t count) { return static_cast<double>(count) / (1 << 30); };
    throw DeviceMemoryError(fmt::format("GPU {}: {:.1f} GiB wanted, {:.1f} of {:.1f} are free", gpu_,
                                        gib(bytes), gib(available), gib(total)));
  }
  cuda::check(status, "cudaMalloc");
  LACUNA_CUDA_CALL(cudaMemsetAsync(data, 0, bytes, streams_[kComputeQueue]));
  finish(kComputeQueue);
  sizes_[static_cast<std::byte*>(data)] = bytes;
  counters_.bytes += static_cast<std::int64_t>(bytes);
  return static_cast<std::byte*>(data);
}

// After an error the memory stays: cudaFree waits for kernels, and they may wait for a peer that is lost. The
// process is about to end.
void StreamDevice::release(std::byte* data) noexcept {
  if (std::uncaught_exceptions() != 0) return;
  cudaFree(data);
  if (const auto found = sizes_.find(data); found != sizes_.end()) {
    counters_.bytes -= static_cast<std::int64_t>(found->second);
    sizes_.erase(found);
  }
}

// Other queues move what compute waits for, so they come first.
Queue StreamDevice::open_queue() {
  ++counters_.allocations;
  int least = 0, greatest = 0;
  LACUNA_CUDA_CALL(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  cudaStream_t stream = nullptr;
  LACUNA_CUDA_CALL(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
  streams_.push_back(stream);
  return static_cast<Queue>(streams_.size()) - 1;
}

Mark StreamDevice::mark(Queue queue) {
  if (next_mark_ == marks_.size()) {
    ++counters_.allocations;
    marks_.push_back(make_event());
  }
  LACUNA_CUDA_CALL(cudaEventRecord(marks_[next_mark_], stream(queue)));
  return static_cast<Mark>(next_mark_++);
}

void StreamDevice::wait(Queue queue, Mark mark) {
  LACUNA_CUDA_CALL(cudaStreamWaitEvent(stream(queue), marks_.at(static_cast<std::size_t>(mark)), 0));
}

void StreamDevice::copy(Queue queue, std::byte* to, const std::byte* from, std::size_t bytes) {
  LACUNA_CUDA_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream(queue)));
}

// Looks instead of sleeping in the driver, so that a lost peer is noticed.
void StreamDevice::finish(Queue queue) {
  ++counters_.synchronisations;
  LACUNA_CUDA_CALL(cudaEventRecord(finished_, stream(queue)));
  for (;;) {
    const cudaError_t status = cudaEventQuery(finished_);
    if (status == cudaSuccess) return;
    if (status != cudaErrorNotReady) cuda::check(status, "the work of a queue");
    look();
    std::this_thread::yield();
  }
}

cudaEvent_t StreamDevice::new_event() {
  ++counters_.allocations;
  return other_events_.emplace_back(make_event());
}

int StreamDevice::watch(std::function<void()> look) {
  looks_.push_back(std::move(look));
  return static_cast<int>(looks_.size()) - 1;
}

StreamDevice& stream_device(Device& device) {
  auto* streams = dynamic_cast<StreamDevice*>(&device);
  LACUNA_ASSERT(streams != nullptr);
  return *streams;
}

std::unique_ptr<Device> make_cuda_device(void* compute_stream) {
  return std::make_unique<StreamDevice>(static_cast<cudaStream_t>(compute_stream));
}

void* stream_of(Device& device, Queue queue) {
  return stream_device(device).stream(queue);
}

}  // namespace lacuna
