#include "parallel/run/cuda/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "parallel/run/cuda/cuda_check.h"

namespace lacuna {
namespace {

// The streams of a rank must not block each other: one hardware queue each, as far as there are some, for
// kernels and for copies. A smaller number in the environment was meant for another program: with few queues
// a stream that waits holds up the one that it waits for.
void ask_for_queues() {
  static std::once_flag once;
  std::call_once(once, [] {
    constexpr int kMost = 32;
    for (const char* name : {"CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_DEVICE_MAX_COPY_CONNECTIONS"}) {
      const char* given = std::getenv(name);
      if (!given || std::atoi(given) < kMost) ::setenv(name, std::to_string(kMost).c_str(), 1);
    }
  });
}

}  // namespace

std::vector<GpuInfo> gpus_by_pci() {
  ask_for_queues();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    return {};
  }
  cuda::check(status, "cudaGetDeviceCount");
  std::vector<GpuInfo> all;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    LACUNA_CUDA_CALL(cudaGetDeviceProperties(&properties, index));
    char pci[32] = "";
    LACUNA_CUDA_CALL(cudaDeviceGetPCIBusId(pci, sizeof pci, index));
    all.push_back({index, properties.name, pci, properties.major * 10 + properties.minor,
                   properties.multiProcessorCount, properties.totalGlobalMem,
                   static_cast<std::size_t>(properties.l2CacheSize)});
  }
  std::sort(all.begin(), all.end(), [](const GpuInfo& a, const GpuInfo& b) { return a.pci < b.pci; });
  return all;
}

void use_gpu(int index) {
  ask_for_queues();
  LACUNA_CUDA_CALL(cudaSetDevice(index));
}

std::size_t free_gpu_bytes() {
  std::size_t available = 0, total = 0;
  LACUNA_CUDA_CALL(cudaMemGetInfo(&available, &total));
  return available;
}

}  // namespace lacuna
