#include "parallel/run/cuda/cuda_window.h"

#include <unistd.h>

#include "parallel/run/cuda/cuda_check.h"
#include "parallel/run/cuda/cuda_device.h"
#include "parallel/run/node_place.h"

namespace lacuna {
namespace {

// Whole granules of the driver: a handle shares the granule that its memory lies in.
constexpr std::size_t kGranule = std::size_t{2} << 20;

struct Offer {
  std::int64_t process;
  void* data;
  std::size_t bytes;
  cudaIpcMemHandle_t handle;
};

}  // namespace

CudaWindow::CudaWindow(Communicator& host, Device& device, std::size_t bytes)
    : device_(device), own_(device, (bytes + kGranule - 1) / kGranule * kGranule) {
  Offer mine{getpid(), own_.data(), bytes, {}};
  if (bytes > 0) LACUNA_CUDA_CALL(cudaIpcGetMemHandle(&mine.handle, own_.data()));
  std::vector<Offer> all(static_cast<std::size_t>(host.size()));
  host.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  for (const Offer& offer : all) {
    void* data = offer.data;
    if (offer.process != mine.process && offer.bytes > 0) {
      LACUNA_CUDA_CALL(cudaIpcOpenMemHandle(&data, offer.handle, cudaIpcMemLazyEnablePeerAccess));
      opened_.push_back(data);
    }
    areas_.emplace_back(static_cast<std::byte*>(data), offer.bytes);
  }
}

CudaWindow::~CudaWindow() = default;

void CudaWindow::close(Communicator& host) {
  device_.finish(kComputeQueue);  // the executor's last word in every queue comes before its end
  host.barrier();
  for (void* data : opened_) LACUNA_CUDA_CALL(cudaIpcCloseMemHandle(data));
  opened_.clear();
  host.barrier();  // nobody has it open any more
  own_ = DeviceBytes();
}

void enable_peers(Communicator& host, int gpu) {
  std::vector<int> gpus(static_cast<std::size_t>(host.size()));
  host.all_gather(std::as_bytes(std::span(&gpu, 1)), std::as_writable_bytes(std::span(gpus)));
  for (const int other : gpus) {
    if (other == gpu) continue;
    int reaches = 0;
    LACUNA_CUDA_CALL(cudaDeviceCanAccessPeer(&reaches, gpu, other));
    LACUNA_CHECK(reaches, ErrorKind::NoFit,
                 "'{}': GPU {} cannot reach the memory of GPU {}: use one of them, or a process a GPU",
                 host.name(), gpu, other);
    const cudaError_t status = cudaDeviceEnablePeerAccess(other, 0);
    if (status == cudaErrorPeerAccessAlreadyEnabled) {
      cudaGetLastError();
    } else {
      cuda::check(status, "cudaDeviceEnablePeerAccess");
    }
  }
}

std::unique_ptr<SharedWindow> open_cuda_window(Communicator& host, Device& device, std::size_t bytes) {
  const NodePlace place = find_node_place(host);
  LACUNA_CHECK(place.local_size == host.size(), ErrorKind::NoFit,
               "'{}': memory shared by its {} ranks needs one node, this one has {} of them (place pipeline "
               "partners on one node, or run without BPipe)",
               host.name(), host.size(), place.local_size);
  return std::make_unique<CudaWindow>(host, device, bytes);
}

}  // namespace lacuna
