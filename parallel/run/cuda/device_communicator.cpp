#include "parallel/run/cuda/device_communicator.h"

#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/cuda/cuda_window.h"

namespace lacuna {

DeviceCommunicator::~DeviceCommunicator() {
  if (watch_ >= 0) device_.unwatch(watch_);
}

void DeviceCommunicator::all_reduce_sum(void* data, std::size_t count, DType dtype) {
  all_reduce(Reduction::Sum, data, count, dtype);
}
void DeviceCommunicator::all_reduce_max(void* data, std::size_t count, DType dtype) {
  all_reduce(Reduction::Max, data, count, dtype);
}

std::unique_ptr<Communicator> DeviceCommunicator::split(int colour, int key, const std::string& new_name) {
  auto host = host_.split(colour, key, new_name);
  auto part = over(*host);
  part->own_host_ = std::move(host);
  return part;
}

std::unique_ptr<SharedWindow> DeviceCommunicator::open_window(std::size_t bytes) {
  return open_cuda_window(host_, device_, bytes);
}

void DeviceCommunicator::close_window(std::unique_ptr<SharedWindow> window) {
  static_cast<CudaWindow&>(*window).close(host_);
}

}  // namespace lacuna
