#include "kernels/cuda/launch.h"

#include "src/base/error.h"

namespace lacuna::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const ErrorKind kind = status == cudaErrorMemoryAllocation ? ErrorKind::NoFit : ErrorKind::Internal;
  fail(kind, "{}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

void broken(const char* condition, const char* file, int line) {
  fail(ErrorKind::Internal, "broken invariant {} at {}:{}", condition, file, line);
}

}  // namespace lacuna::cuda
