// What every launcher shares: the stream type, checks of the runtime's return codes and of arguments.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#ifdef __CUDACC__  // nvcc cannot read fmt, so .cu files report through the functions here
#define LACUNA_ASSERT(condition)                                                           \
  do {                                                                                     \
    if (!(condition)) [[unlikely]] ::lacuna::cuda::broken(#condition, __FILE__, __LINE__); \
  } while (0)
#else
#include "src/base/error.h"
#endif

namespace lacuna::cuda {

using Stream = cudaStream_t;

// Error(NoFit) for exhausted memory, Error(Internal) for everything else; `what` is the call or the kernel.
void check(cudaError_t status, const char* what);
inline void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

// Lets `kernel` be launched with `bytes` of dynamic shared memory. Its limit only grows: one launch must not
// lower what a captured one needs.
void allow_shared(const void* kernel, std::size_t bytes, const char* name);

// Throws Error(Internal) that names the condition and the place.
[[noreturn]] void broken(const char* condition, const char* file, int line);

}  // namespace lacuna::cuda
