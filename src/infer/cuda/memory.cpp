#include "src/infer/cuda/memory.h"

#include "src/base/error.h"

namespace lacuna {

DeviceMemory::DeviceMemory(std::size_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(reinterpret_cast<void**>(&data_), bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t available = 0, all = 0;
    cudaMemGetInfo(&available, &all);
    fail(
        ErrorKind::NoFit,
        "{} wants {:.2f} GB, and {:.2f} of the GPU's {:.2f} GB are free; what helps: --dtype bf16, a shorter "
        "--ctx, --device cpu",
        what, static_cast<double>(bytes) / 1e9, static_cast<double>(available) / 1e9,
        static_cast<double>(all) / 1e9);
  }
  cuda::check(status, "cudaMalloc");
  LACUNA_CUDA(cudaMemset(data_, 0, bytes));
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  LACUNA_CUDA(cudaHostAlloc(&data_, bytes, cudaHostAllocDefault));
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

OwnedStream::OwnedStream() {
  LACUNA_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

OwnedStream::~OwnedStream() {
  cudaStreamDestroy(stream_);
}

void OwnedStream::wait() const {
  LACUNA_CUDA(cudaStreamSynchronize(stream_));
}

}  // namespace lacuna
