#include "kernels/cuda/launch.h"

#include "src/base/error.h"

namespace lacuna::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const ErrorKind kind = status == cudaErrorMemoryAllocation ? ErrorKind::NoFit : ErrorKind::Internal;
  fail(kind, "{}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

void allow_shared(const void* kernel, std::size_t bytes, const char* name) {
  cudaFuncAttributes now = {};
  check(cudaFuncGetAttributes(&now, kernel), name);
  if (static_cast<int>(bytes) > now.maxDynamicSharedSizeBytes)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          name);
}

void broken(const char* condition, const char* file, int line) {
  fail(ErrorKind::Internal, "broken invariant {} at {}:{}", condition, file, line);
}

}  // namespace lacuna::cuda
